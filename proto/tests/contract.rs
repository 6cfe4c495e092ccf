//! What a client that was built from an earlier version of the v1 contracts relies on: `recorded/v1.txt` holds one fact a
//! line, and each must still hold. Rule: a fact is never changed or deleted; new ones are added with the version that releases
//! them. A field is `field MESSAGE NAME NUMBER LABEL TYPE`, with `of ONEOF` where it is of one; a value of an enum is `value ENUM NAME
//! NUMBER`; a call is `call SERVICE NAME REQUEST -> RESPONSE`, with `stream` before what streams.

use std::collections::BTreeSet;

use faultline_proto::DESCRIPTORS;
use prost::Message as _;
use prost_types::{
    DescriptorProto, EnumDescriptorProto, FileDescriptorProto, FileDescriptorSet,
    field_descriptor_proto::{Label, Type},
};

const RECORDED: &str = include_str!("recorded/v1.txt");

/// What subscribers build on.
const PACKAGES: [&str; 2] = ["faultline.feed.v1", "faultline.types.v1"];

fn compiled() -> FileDescriptorSet {
    FileDescriptorSet::decode(DESCRIPTORS).expect("descriptors")
}

/// Every fact about the packages.
fn facts(set: &FileDescriptorSet) -> BTreeSet<String> {
    let mut facts = BTreeSet::new();
    for file in set.file.iter().filter(|file| PACKAGES.contains(&file.package())) {
        let package = file.package();
        file.message_type.iter().for_each(|message| of_message(package, message, &mut facts));
        file.enum_type.iter().for_each(|of| of_enum(package, of, &mut facts));
        of_services(package, file, &mut facts);
    }
    facts
}

fn of_message(within: &str, message: &DescriptorProto, facts: &mut BTreeSet<String>) {
    let name = format!("{within}.{}", message.name());
    for field in &message.field {
        let label = match field.label() {
            Label::Repeated => "repeated",
            Label::Optional | Label::Required => "singular",
        };
        let kind = match field.r#type() {
            Type::Message | Type::Enum => field.type_name().trim_start_matches('.').to_owned(),
            scalar => scalar.as_str_name().trim_start_matches("TYPE_").to_ascii_lowercase(),
        };
        let oneof = field.oneof_index.and_then(|index| message.oneof_decl.get(usize::try_from(index).ok()?));
        let oneof = oneof.map(|oneof| format!(" of {}", oneof.name())).unwrap_or_default();
        facts.insert(format!("field {name} {} {} {label} {kind}{oneof}", field.name(), field.number()));
    }
    message.nested_type.iter().for_each(|nested| of_message(&name, nested, facts));
    message.enum_type.iter().for_each(|of| of_enum(&name, of, facts));
}

fn of_enum(within: &str, of: &EnumDescriptorProto, facts: &mut BTreeSet<String>) {
    let value = |name: &str, number: i32| format!("value {within}.{} {name} {number}", of.name());
    facts.extend(of.value.iter().map(|held| value(held.name(), held.number())));
}

fn of_services(package: &str, file: &FileDescriptorProto, facts: &mut BTreeSet<String>) {
    let flow = |streams: bool, name: &str| format!("{}{}", if streams { "stream " } else { "" }, &name[1..]);
    for service in &file.service {
        facts.extend(service.method.iter().map(|call| {
            let asked = flow(call.client_streaming(), call.input_type());
            let answered = flow(call.server_streaming(), call.output_type());
            format!("call {package}.{} {} {asked} -> {answered}", service.name(), call.name())
        }));
    }
}

/// Recorded facts that do not hold.
fn broken(set: &FileDescriptorSet) -> Vec<&'static str> {
    let facts = facts(set);
    let recorded = RECORDED.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    recorded.filter(|fact| !facts.contains(*fact)).collect()
}

#[test]
fn what_a_v1_client_was_built_from_still_holds() {
    assert_eq!(
        broken(&compiled()),
        [""; 0],
        "a client of v1 breaks: fields, values and calls may be added, and that is all"
    );
    assert!(RECORDED.lines().count() > 200, "the record is whole");
}

fn message<'a>(set: &'a mut FileDescriptorSet, package: &str, name: &str) -> &'a mut DescriptorProto {
    let files = set.file.iter_mut().filter(|file| file.package() == package);
    files.flat_map(|file| &mut file.message_type).find(|held| held.name() == name).expect("a message")
}

#[test]
fn a_change_that_breaks_a_v1_client_is_named_and_an_addition_is_not() {
    let field = "field faultline.feed.v1.Snapshot sequence 2 singular uint64";
    let mut renumbered = compiled();
    message(&mut renumbered, "faultline.feed.v1", "Snapshot").field[1].number = Some(99);
    assert_eq!(broken(&renumbered), [field]);
    let mut retyped = compiled();
    message(&mut retyped, "faultline.feed.v1", "Snapshot").field[1].set_type(Type::Int64);
    assert_eq!(broken(&retyped), [field]);
    let mut repeated = compiled();
    message(&mut repeated, "faultline.feed.v1", "Snapshot").field[1].set_label(Label::Repeated);
    assert_eq!(broken(&repeated), [field]);
    let mut moved = compiled();
    message(&mut moved, "faultline.feed.v1", "SubscribeResponse").field[2].oneof_index = None;
    assert_eq!(
        broken(&moved),
        ["field faultline.feed.v1.SubscribeResponse snapshot 3 singular faultline.feed.v1.Snapshot of message"]
    );
    let mut without = compiled();
    let files = without.file.iter_mut().filter(|file| file.package() == "faultline.types.v1");
    let verdicts = files.flat_map(|file| &mut file.enum_type).find(|of| of.name() == "Verdict").expect("an enum");
    verdicts.value.retain(|value| value.name() != "VERDICT_NEITHER");
    assert_eq!(broken(&without), ["value faultline.types.v1.Verdict VERDICT_NEITHER 3"]);
    let mut unary = compiled();
    let files = unary.file.iter_mut().filter(|file| file.package() == "faultline.feed.v1");
    let calls = files.flat_map(|file| &mut file.service).flat_map(|service| &mut service.method);
    calls.filter(|call| call.name() == "Subscribe").for_each(|call| call.server_streaming = None);
    assert_eq!(broken(&unary).len(), 1);
    let mut added = compiled();
    let fields = &mut message(&mut added, "faultline.feed.v1", "Snapshot").field;
    let mut new = fields[1].clone();
    (new.name, new.number) = (Some("later".into()), Some(99));
    fields.push(new);
    assert_eq!(broken(&added), [""; 0]);
}
