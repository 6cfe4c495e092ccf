//! Targets that the studied incidents need beside the rest: zones, load balancers, literal addresses, single services,
//! one owner's names, a top-level domain, certificate authorities, dependencies that nobody tells.

use super::{Front, Probe, Target, app, https};

pub(super) fn targets() -> Vec<Target> {
    let groups =
        [zones(), us_west(), central_us(), by_address(), services(), load_balancers(), names(), guests(), needs()];
    groups.into_iter().flatten().collect()
}

/// Customers in one zone each, two zones a region, two of HTTPS a zone of Frankfurt and London, so that a zone is never
/// one customer's own trouble; one spread over Tokyo's behind a load balancer.
fn zones() -> Vec<Target> {
    let tokyo = |owner, operator| app(owner, Probe::Https, operator, "aws", "ap-northeast-1", "as");
    let frankfurt = |owner, probe, operator| app(owner, probe, operator, "aws", "eu-central-1", "eu");
    let london = |owner, probe, operator| app(owner, probe, operator, "azure", "uksouth", "eu");
    vec![
        tokyo("pay-eleven", "ns1").zone("apne1-az4"),
        tokyo("taxi-twelve", "google").zone("apne1-az1"),
        tokyo("blog-thirteen", "route53").zone("apne1-az1"),
        tokyo("mall-tokyo", "route53").service("alb"),
        frankfurt("auto-alpha", Probe::Https, "route53").zone("euc1-az1"),
        frankfurt("labs-beta", Probe::Tcp, "cloudflare").zone("euc1-az1"),
        frankfurt("book-gamma", Probe::Https, "ns1").zone("euc1-az2"),
        frankfurt("fair-delta", Probe::Tls, "route53").zone("euc1-az2"),
        frankfurt("mill-echo", Probe::Https, "google").zone("euc1-az1"),
        frankfurt("quay-foxtrot", Probe::Https, "cloudflare").zone("euc1-az2"),
        london("vault-ash", Probe::Https, "azure-dns").zone("uksouth-az1"),
        london("ward-beech", Probe::Tcp, "route53").zone("uksouth-az1"),
        london("poll-cedar", Probe::Https, "ns1").zone("uksouth-az2"),
        london("post-doum", Probe::Https, "azure-dns").zone("uksouth-az2"),
        london("silo-elder", Probe::Https, "cloudflare").zone("uksouth-az1"),
    ]
}

/// Two neighbouring regions of one cloud, and the other cloud beside them.
fn us_west() -> Vec<Target> {
    let s3 = https("aws/us-west-2/s3", "s3.us-west-2.amazonaws.com", "route53", "amazon").front(Front::AwsService);
    let dynamodb = https("aws/us-west-2/dynamodb", "dynamodb.us-west-2.amazonaws.com", "route53", "amazon");
    let dynamodb = dynamodb.front(Front::AwsService).says("/ping", "healthy: dynamodb.us-west-2 ", "healthy");
    let sqs = https("aws/us-west-1/sqs", "sqs.us-west-1.amazonaws.com", "route53", "amazon").front(Front::AwsService);
    vec![
        s3.on("aws", "us-west-2", "na").service("s3"),
        dynamodb.on("aws", "us-west-2", "na").service("dynamodb"),
        sqs.on("aws", "us-west-1", "na").service("sqs"),
        app("trail-fir", Probe::Https, "ns1", "aws", "us-west-2", "na").issued_by("lets-encrypt"),
        app("surf-gum", Probe::Https, "google", "aws", "us-west-1", "na"),
        app("wing-hazel", Probe::Https, "cloudflare", "azure", "westus2", "na"),
        app("pier-jasmine", Probe::Https, "ns1", "azure", "westus2", "na"),
    ]
}

fn central_us() -> Vec<Target> {
    let blob = https("azure/centralus/blob", "canarycentralus.blob.core.windows.net", "azure-dns", "microsoft");
    vec![
        blob.on("azure", "centralus", "na").service("blob").front(Front::AzureBlob),
        app("gate-iris", Probe::Tcp, "azure-dns", "azure", "centralus", "na").service("vm"),
        app("seat-juniper", Probe::Https, "route53", "azure", "centralus", "na").service("vm"),
    ]
}

/// Machines without a name: what is wrong with names does not reach them.
fn by_address() -> Vec<Target> {
    let machine = |id: &str, owner: &str| Target { probe: Probe::Tcp, ..https(id, "", "", owner) }.by_address();
    vec![
        machine("address/ec2", "kiosk-ivy").on("aws", "us-east-1", "na").service("ec2-host"),
        machine("address/vm", "pump-larch").on("azure", "eastus", "na").service("vm"),
    ]
}

/// Services of which one incident each is known, and storage over plain TCP, which no certificate can break.
fn services() -> Vec<Target> {
    let aws = |region: &str, service: &str, host: &str, geography| {
        let target = https(&format!("aws/{region}/{service}"), host, "route53", "amazon").front(Front::AwsService);
        target.on("aws", region, geography).service(service).api()
    };
    let plain = https("azure/eastus/blob-http", "plaineastus.blob.core.windows.net", "azure-dns", "microsoft");
    let storage = https("gcp/storage", "storage.googleapis.com", "google", "google").front(Front::Google);
    vec![
        aws("us-east-1", "kinesis", "kinesis.us-east-1.amazonaws.com", "na"),
        aws("us-east-1", "cognito", "cognito-idp.us-east-1.amazonaws.com", "na"),
        aws("eu-west-1", "kinesis", "kinesis.eu-west-1.amazonaws.com", "eu"),
        Target { probe: Probe::Tcp, ..plain }.on("azure", "eastus", "na").service("blob"),
        storage.on("gcp", "us-central1", "na").service("storage"),
    ]
}

/// With `app/queue-two`, four customers' load balancers in us-east-1.
fn load_balancers() -> Vec<Target> {
    ["ride-kapok", "deal-linden", "cash-maple"]
        .map(|owner| app(owner, Probe::Tcp, "cloudflare", "aws", "us-east-1", "na").service("nlb"))
        .into()
}

/// One owner with names on its own DNS; one top-level domain over two clouds and none.
fn names() -> Vec<Target> {
    let face = |id: &str, host: &str| https(id, host, "facegram", "facegram").at("other");
    let club = |owner: &str, operator| https(&format!("club/{owner}"), &format!("www.{owner}.club"), operator, owner);
    vec![
        face("facegram/www", "www.facegram.example"),
        face("facegram/chat", "chat.facegram.example"),
        face("facegram/login", "login.facegram.example"),
        club("disco", "route53").on("aws", "eu-west-1", "eu"),
        club("golf", "azure-dns").on("azure", "westeurope", "eu"),
        club("wine", "cloudflare").issued_by("lets-encrypt"),
    ]
}

/// Customers' machines that run Windows, on three clouds and on premises.
fn guests() -> Vec<Target> {
    let guest = |owner: &str, operator| Target {
        probe: Probe::Tcp,
        ..https(&format!("guest/{owner}"), &format!("www.{owner}.example"), operator, owner)
    };
    vec![
        guest("air-nutmeg", "route53").on("aws", "us-east-1", "na"),
        guest("clinic-olive", "azure-dns").on("azure", "westeurope", "eu"),
        guest("till-pine", "google").on("gcp", "us-central1", "na"),
        guest("desk-quince", "ns1"),
    ]
}

/// Apps that need somebody else's service without saying so; and sites whose certificates one authority signed.
fn needs() -> Vec<Target> {
    let site = |owner: &str, operator| app(owner, Probe::Https, operator, "azure", "eastus", "na");
    let kv = https("cloudflare/kv-rowan", "www.kv-rowan.example", "cloudflare", "kv-rowan").front(Front::Cloudflare);
    let kv = kv.behind("cdn/cloudflare", "www.kv-rowan.example.cdn.cloudflare.net", "cloudflare");
    vec![
        site("cart-sorrel", "ns1").needs("aws/us-east-1/dynamodb").issued_by("lets-encrypt"),
        app("menu-teak", Probe::Https, "google", "azure", "westeurope", "eu").needs("aws/us-east-1/dynamodb"),
        app("form-willow", Probe::Https, "route53", "aws", "us-east-1", "na").needs("aws/us-east-1/cognito"),
        kv.at("cloudflare").needs("cloud/gcp"),
        across(),
        https("site/ruby-yew", "www.ruby-yew.example", "ns1", "ruby-yew").issued_by("lets-encrypt"),
    ]
}

/// One cloud's customer behind the other cloud's CDN.
fn across() -> Target {
    let craft = https("front-door/craft-zinnia", "www.craft-zinnia.example", "ns1", "craft-zinnia");
    let craft = craft.on("aws", "us-east-1", "na").front(Front::FrontDoor);
    craft.behind("azure/front-door", "craft-zinnia.azurefd.net", "azure-dns")
}
