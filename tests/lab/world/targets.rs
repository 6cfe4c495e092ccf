//! The targets: cloud services, customers in regions and behind CDNs, third parties, controls.
//!
//! Rule: owners, name operators and regions cross the CDNs, so that a shared one never hints at another.

mod incidents;

use super::{Alias, Front, Probe, Target};

pub(super) fn standard() -> Vec<Target> {
    let groups = [
        aws_services(),
        azure_services(),
        apps(),
        front_door(),
        cloud_front(),
        entra(),
        fastly(),
        cloudflare(),
        dyn_zones(),
        controls(),
        incidents::targets(),
    ];
    (0..).zip(groups.into_iter().flatten()).map(|(number, target)| Target { number, ..target }).collect()
}

fn aws_services() -> Vec<Target> {
    let mut targets = Vec::new();
    for (region, geography) in [("us-east-1", "na"), ("eu-west-1", "eu"), ("ap-northeast-1", "as")] {
        for service in ["dynamodb", "s3", "sqs"] {
            let host = format!("{service}.{region}.amazonaws.com");
            let target = https(&format!("aws/{region}/{service}"), &host, "route53", "amazon");
            let target = target.on("aws", region, geography).service(service).front(Front::AwsService);
            targets.push(if service == "dynamodb" {
                target.says("/ping", &format!("healthy: {host} "), "healthy")
            } else {
                target
            });
        }
    }
    let ec2 = https("aws/us-east-1/ec2", "ec2.us-east-1.amazonaws.com", "route53", "amazon");
    targets.push(ec2.on("aws", "us-east-1", "na").service("ec2").api().front(Front::AwsService));
    let zone = dns("aws/route53", "probe.awsdns-00.net", "route53", "amazon", true);
    targets.push(Target { hosted_on: "aws".into(), ..zone }.service("route53"));
    targets
}

fn azure_services() -> Vec<Target> {
    let mut targets = Vec::new();
    for (region, geography) in [("eastus", "na"), ("westeurope", "eu"), ("southeastasia", "as")] {
        let blob = format!("canary{region}.blob.core.windows.net");
        let blob = https(&format!("azure/{region}/blob"), &blob, "azure-dns", "microsoft").front(Front::AzureBlob);
        let arm = format!("{region}.management.azure.com");
        let arm = https(&format!("azure/{region}/arm"), &arm, "azure-dns", "microsoft").api().front(Front::AzureApi);
        let cognitive = format!("{region}.api.cognitive.microsoft.com");
        let cognitive =
            https(&format!("azure/{region}/cognitive"), &cognitive, "azure-dns", "microsoft").front(Front::AzureApi);
        for (target, service) in [(blob, "blob"), (arm, "arm"), (cognitive, "cognitive")] {
            targets.push(target.on("azure", region, geography).service(service));
        }
    }
    let zone = dns("azure/dns", "probe.azure-dns.com", "azure-dns", "microsoft", true);
    targets.push(Target { hosted_on: "azure".into(), ..zone }.service("dns"));
    targets
}

/// A customer's app in a region.
pub(super) fn app(owner: &str, probe: Probe, operator: &str, cloud: &str, region: &str, geography: &str) -> Target {
    let host = format!("www.{owner}.example");
    Target { probe, ..https(&format!("app/{owner}"), &host, operator, owner) }.on(cloud, region, geography)
}

/// Customers' apps hosted directly in regions.
fn apps() -> Vec<Target> {
    vec![
        app("shop-one", Probe::Https, "route53", "aws", "us-east-1", "na"),
        app("queue-two", Probe::Tcp, "ns1", "aws", "us-east-1", "na").service("nlb"),
        app("bank-three", Probe::Https, "cloudflare", "aws", "eu-west-1", "eu"),
        app("mail-four", Probe::Tls, "route53", "aws", "eu-west-1", "eu"),
        app("game-five", Probe::Https, "route53", "aws", "ap-northeast-1", "as").zone("apne1-az4"),
        app("tax-six", Probe::Https, "azure-dns", "azure", "eastus", "na"),
        app("vpn-seven", Probe::Tcp, "google", "azure", "eastus", "na"),
        app("rail-eight", Probe::Https, "ns1", "azure", "westeurope", "eu"),
        app("ldap-nine", Probe::Tls, "azure-dns", "azure", "westeurope", "eu"),
        app("port-ten", Probe::Https, "azure-dns", "azure", "southeastasia", "as"),
    ]
}

fn front_door() -> Vec<Target> {
    let behind = |target: Target, edge: &str| {
        Target { front: Front::FrontDoor, ..target }.behind("azure/front-door", edge, "azure-dns")
    };
    let microsoft = |id: &str, host: &str, edge: &str| {
        let target = https(&format!("front-door/{id}"), host, "azure-dns", "microsoft");
        behind(Target { hosted_on: "azure".into(), ..target }.service(id), edge)
    };
    let mut targets = vec![
        microsoft("portal", "portal.azure.com", "portal.part-0001.t-msedge.net"),
        microsoft("office", "www.office.com", "office.part-0002.t-msedge.net"),
    ];
    let customers = [
        ("contoso-air", "ns1", "eastus", "na", Probe::Https, true),
        ("fabrikam-food", "route53", "westeurope", "eu", Probe::Https, false),
        ("northwind-bank", "azure-dns", "westeurope", "eu", Probe::Https, false),
        ("tailspin-video", "cloudflare", "eastus", "na", Probe::Http3, true),
    ];
    for (owner, operator, region, geography, probe, cdn_is_told) in customers {
        let site = https(&format!("front-door/{owner}"), &format!("www.{owner}.example"), operator, owner);
        let site = behind(site.on("azure", region, geography), &format!("{owner}.azurefd.net"));
        if probe == Probe::Https {
            let origin = https(&format!("origin/{owner}"), &format!("origin.{owner}.example"), operator, owner);
            targets.push(origin.on("azure", region, geography));
        }
        targets.push(Target { probe, cdn_is_told, ..site });
    }
    targets
}

fn cloud_front() -> Vec<Target> {
    let mut targets = Vec::new();
    let customers = [
        ("stream-lake", "route53", "us-east-1", "na", "d111111abcdef8", Probe::Https),
        ("news-harbor", "ns1", "eu-west-1", "eu", "d222222abcdef8", Probe::Https),
        ("toys-river", "cloudflare", "us-east-1", "na", "d333333abcdef8", Probe::Https),
        ("maps-cape", "google", "ap-northeast-1", "as", "d444444abcdef8", Probe::Http3),
    ];
    for (owner, operator, region, geography, edge, probe) in customers {
        let site = https(&format!("cloudfront/{owner}"), &format!("www.{owner}.example"), operator, owner);
        let site = site.on("aws", region, geography).front(Front::CloudFront);
        if probe == Probe::Https {
            let origin = https(&format!("origin/{owner}"), &format!("origin.{owner}.example"), operator, owner);
            targets.push(origin.on("aws", region, geography));
        }
        let site = site.behind("aws/cloudfront", &format!("{edge}.cloudfront.net"), "route53");
        targets.push(Target { probe, ..site });
    }
    targets
}

fn entra() -> Vec<Target> {
    let login = https("azure/entra-id", "login.microsoftonline.com", "azure-dns", "microsoft").front(Front::AzureApi);
    let login = Target { hosted_on: "azure".into(), ..login.service("entra-id") };
    let desk = https("app/desk-one", "www.desk-one.example", "google", "desk-one").on("gcp", "us-central1", "na");
    let clinic =
        https("app/clinic-two", "www.clinic-two.example", "route53", "clinic-two").on("aws", "ap-northeast-1", "as");
    [login, desk, clinic].map(|target| Target { identity: Some("azure/entra-id".into()), ..target }).into()
}

/// One of the sites is Amazon's own shop, hosted on AWS: the trap of June 2021.
fn fastly() -> Vec<Target> {
    let site = |owner: &str, host: &str, operator, edge: &str| {
        let target = https(&format!("fastly/{edge}"), host, operator, owner).front(Front::Fastly);
        target.behind("cdn/fastly", &format!("{edge}.map.fastly.net"), "fastly")
    };
    vec![
        site("amazon", "www.amazon.com", "route53", "retail").on("aws", "us-east-1", "na"),
        site("forum-elm", "www.forum-elm.example", "ns1", "forum-elm"),
        site("paper-oak", "www.paper-oak.example", "google", "paper-oak"),
        site("gov-birch", "www.gov-birch.example", "cloudflare", "gov-birch"),
    ]
}

fn cloudflare() -> Vec<Target> {
    let site = |owner: &str, operator, probe| {
        let host = format!("www.{owner}.example");
        let target = https(&format!("cloudflare/{owner}"), &host, operator, owner).front(Front::Cloudflare);
        let target = target.behind("cdn/cloudflare", &format!("{host}.cdn.cloudflare.net"), "cloudflare");
        Target { probe, ..target }.issued_by("google-trust")
    };
    vec![
        site("chat-fjord", "cloudflare", Probe::Https),
        site("code-bay", "ns1", Probe::Https),
        site("ride-cove", "google", Probe::Https),
        site("song-reef", "cloudflare", Probe::Https),
        site("sky-lagoon", "cloudflare", Probe::Http3),
    ]
}

/// Names at one DNS company: a cloud's own among them, as in October 2016.
fn dyn_zones() -> Vec<Target> {
    let sqs = https("dyn/sqs", "queue.amazonaws.com", "dyn", "amazon").front(Front::AwsService);
    vec![
        sqs.on("aws", "us-east-1", "na").service("sqs"),
        https("dyn/bird-song", "www.bird-song.example", "dyn", "bird-song"),
        https("dyn/film-vault", "www.film-vault.example", "dyn", "film-vault").on("gcp", "us-central1", "na"),
        https("dyn/repo-hub", "www.repo-hub.example", "dyn", "repo-hub"),
        https("ns1/note-pad", "www.note-pad.example", "ns1", "note-pad"),
        dns("ns1/zone", "zone.note-pad.example", "ns1", "note-pad", false),
    ]
}

fn controls() -> Vec<Target> {
    let google = https("control/google", "www.google.com", "google", "google").front(Front::Google);
    let one =
        Target { names: Vec::new(), hosted_on: "cloudflare".into(), ..https("control/one", "", "", "cloudflare") };
    vec![
        Target { hosted_on: "gcp".into(), ..google },
        one.front(Front::Cloudflare),
        dns("control/root", "a.root-servers.net", "root", "root", true),
        dns("control/quad9", "dns.quad9.net", "quad9", "quad9", true),
    ]
}

pub(super) fn https(id: &str, host: &str, operator: &str, owner: &str) -> Target {
    Target {
        number: 0,
        id: id.into(),
        probe: Probe::Https,
        names: vec![Alias { name: host.into(), operator: operator.into() }],
        path: "/".into(),
        body: "ok\n".into(),
        expects: None,
        front: Front::Nginx,
        hosted_on: "other".into(),
        region: None,
        service: None,
        zone: None,
        plane: None,
        geography: None,
        cdn: None,
        cdn_is_told: true,
        identity: None,
        issuer: None,
        hidden: Vec::new(),
        owner: owner.into(),
    }
}

pub(super) fn dns(id: &str, name: &str, operator: &str, owner: &str, is_direct: bool) -> Target {
    Target { probe: Probe::Dns { record: "A", is_direct }, ..https(id, name, operator, owner) }
}

impl Target {
    pub(super) fn on(self, cloud: &str, region: &str, geography: &str) -> Self {
        Self { hosted_on: cloud.into(), region: Some(region.into()), geography: Some(geography.into()), ..self }
    }

    pub(super) fn at(self, cloud: &str) -> Self {
        Self { hosted_on: cloud.into(), ..self }
    }

    pub(super) fn zone(self, zone: &str) -> Self {
        Self { zone: Some(zone.into()), ..self }
    }

    pub(super) fn service(self, service: &str) -> Self {
        Self { service: Some(service.into()), ..self }
    }

    pub(super) fn api(self) -> Self {
        Self { plane: Some("api".into()), ..self }
    }

    pub(super) fn front(self, front: Front) -> Self {
        Self { front, ..self }
    }

    pub(super) fn issued_by(self, issuer: &str) -> Self {
        Self { issuer: Some(issuer.into()), ..self }
    }

    /// Needs that element, which nobody tells.
    pub(super) fn needs(mut self, element: &str) -> Self {
        self.hidden.push(element.into());
        self
    }

    /// Reached by a literal address, so without a name.
    pub(super) fn by_address(self) -> Self {
        Self { names: Vec::new(), ..self }
    }

    pub(super) fn says(self, path: &str, body: &str, expects: &str) -> Self {
        Self { path: path.into(), body: body.into(), expects: Some(expects.into()), ..self }
    }

    pub(super) fn behind(mut self, cdn: &str, edge: &str, operator: &str) -> Self {
        self.names.push(Alias { name: edge.into(), operator: operator.into() });
        Self { cdn: Some(cdn.into()), ..self }
    }
}
