//! Reads `departments.toml`, and refuses entries that can never work.

use std::collections::BTreeSet;

use shared::data::dataset::line_of;
use toml::{Table, Value};

use super::{
    Arn, Department,
    filter::{self, Attributes},
};
use crate::yaml::json;

/// Filter policies of a topic. Source: Amazon SNS endpoints and quotas.
const DEPARTMENTS_AT_MOST: usize = 200;
/// Conditions in an `Fn::Or`. Source: `CloudFormation` user guide, "Condition functions".
const ENVIRONMENTS_AT_MOST: usize = 10;
const KEYS: [&str; 5] = ["address", "environments", "filter", "name", "protocol"];
const PROTOCOLS: [&str; 6] = ["email", "sms", "https", "sqs", "lambda", CHAT];
/// AWS's chat integration, Amazon Q Developer in chat applications. SNS reaches it at one address for all channels.
const CHAT: &str = "chat";
const CHAT_PROTOCOL: &str = "https";
const CHAT_ADDRESS: &str = "https://global.sns-api.chatbot.amazonaws.com";

/// What is wrong with the file, and what is expected; it follows the file's name.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(crate) struct NotADepartment(String);

/// The departments in the file's text, whose alerts have these attributes.
pub(crate) fn read(text: &str, attributes: &Attributes) -> Result<Vec<Department>, NotADepartment> {
    let document: Table = toml::from_str(text).map_err(|error| {
        let line = line_of(text, &error);
        NotADepartment(format!(":{line}: {}; expected TOML", error.message().trim()))
    })?;
    let unknown: Vec<_> = document.keys().filter(|key| *key != "department").collect();
    if !unknown.is_empty() {
        return Err(NotADepartment(format!(" has {}; expected only [[department]]", json(&unknown))));
    }
    let entries = match document.get("department") {
        None => &[],
        Some(Value::Array(entries)) => entries.as_slice(),
        Some(_) => return Err(no_list()),
    };
    let departments: Vec<_> = entries
        .iter()
        .map(|entry| check(entry.as_table().ok_or_else(no_list)?, attributes))
        .collect::<Result<_, _>>()?;
    if departments.len() > DEPARTMENTS_AT_MOST {
        let count = departments.len();
        return Err(NotADepartment(format!(" has {count} departments; a topic takes {DEPARTMENTS_AT_MOST}")));
    }
    for (index, one) in departments.iter().enumerate() {
        for other in &departments[index + 1..] {
            check_pair(one, other)?;
        }
    }
    Ok(departments)
}

fn no_list() -> NotADepartment {
    NotADepartment(": expected [[department]], in double brackets".to_owned())
}

/// SNS refuses a second subscription of an address that differs from the first.
fn check_pair(one: &Department, other: &Department) -> Result<(), NotADepartment> {
    if one.name == other.name {
        return Err(NotADepartment(format!(
            ": two departments are called {}; expected different names",
            one.name
        )));
    }
    let meet = match (&one.environments, &other.environments) {
        (Some(these), Some(those)) => these.iter().any(|each| those.contains(each)),
        _ => true,
    };
    if (&one.protocol, &one.address) == (&other.protocol, &other.address) && meet {
        return Err(NotADepartment(format!(
            ": {} and {} have the same address, which SNS takes once; expected one department, with \"$or\" in its filter, or \
             environments that differ",
            one.name, other.name
        )));
    }
    Ok(())
}

fn check(entry: &Table, attributes: &Attributes) -> Result<Department, NotADepartment> {
    let is_name = |name: &&str| {
        name.starts_with(|c: char| c.is_ascii_alphabetic())
            && name.len() <= 64
            && name.bytes().all(|byte| byte.is_ascii_alphanumeric())
    };
    let shown = |key: &str| entry.get(key).map_or_else(|| "nothing".to_owned(), json);
    let Some(name) = text(entry, "name").filter(is_name) else {
        let expected = "expected letters and digits, a letter first";
        return Err(NotADepartment(format!(": found {} as a name; {expected}", shown("name"))));
    };
    let wrong = |what: String| NotADepartment(format!(": {name} {what}"));
    let unknown: Vec<_> = entry.keys().filter(|key| !KEYS.contains(&key.as_str())).collect();
    if !unknown.is_empty() {
        return Err(wrong(format!("has {}; expected only {}", json(&unknown), KEYS.join(", "))));
    }
    let Some(protocol) = text(entry, "protocol").filter(|protocol| PROTOCOLS.contains(protocol)) else {
        let known = PROTOCOLS.join(", ");
        return Err(wrong(format!("has the protocol {}; expected one of {known}", shown("protocol"))));
    };
    let (protocol, address) = match (protocol, text(entry, "address")) {
        (CHAT, _) if entry.contains_key("address") => {
            return Err(wrong(format!(
                "has the protocol chat and the address {}; expected no address, since each channel that names the topic gets \
                 its alerts",
                shown("address")
            )));
        }
        (CHAT, _) => (CHAT_PROTOCOL, CHAT_ADDRESS),
        (protocol, Some(address)) if !address.trim().is_empty() => (protocol, address),
        _ => return Err(wrong("has no address".to_owned())),
    };
    let arn = match protocol {
        "sqs" | "lambda" => Some(arn(protocol, address).ok_or_else(|| {
            let example =
                if protocol == "sqs" { "arn:aws:sqs:…:queue" } else { "arn:aws:lambda:…:function:name" };
            wrong(format!("has the address {}; expected {example}", shown("address")))
        })?),
        _ => None,
    };
    Ok(Department {
        environments: entry.get("environments").map(environments).transpose().map_err(wrong)?,
        filter: entry
            .get("filter")
            .map(|filter| filter::read(filter, attributes))
            .transpose()
            .map_err(wrong)?,
        name: name.to_owned(),
        protocol: protocol.to_owned(),
        address: address.to_owned(),
        arn,
    })
}

fn text<'a>(entry: &'a Table, key: &str) -> Option<&'a str> {
    entry.get(key).and_then(Value::as_str)
}

/// The parts of the address of a queue or function, if it is one.
fn arn(protocol: &str, address: &str) -> Option<Arn> {
    let [scheme, partition, service, region, account, resource] =
        address.splitn(6, ':').collect::<Vec<_>>().try_into().ok()?;
    let of = |text: &str, allowed: &str| {
        !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || allowed.contains(c))
    };
    let names = if protocol == "sqs" {
        resource.strip_suffix(".fifo").unwrap_or(resource)
    } else {
        resource.strip_prefix("function:")?
    };
    let is_arn = scheme == "arn"
        && partition.starts_with("aws")
        && of(partition, "-")
        && service == protocol
        && of(region, "-")
        && account.bytes().all(|byte| byte.is_ascii_digit())
        && !account.is_empty()
        && of(names, if protocol == "sqs" { "-_" } else { "-_:" });
    let [region, account, resource] = [region, account, resource].map(str::to_owned);
    is_arn.then_some(Arn { region, account, resource })
}

fn environments(value: &Value) -> Result<Vec<String>, String> {
    let Some(list) = value.as_array().filter(|list| !list.is_empty()) else {
        let expected = "expected a list such as [\"prod\"], or no line for all environments";
        return Err(format!("has environments = {}; {expected}", json(value)));
    };
    // Same as the template's parameter Environment.
    let is_name = |name: &&str| {
        name.starts_with(|c: char| c.is_ascii_lowercase())
            && (2..=8).contains(&name.len())
            && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
    };
    let mut names = Vec::new();
    for each in list {
        let Some(name) = each.as_str().filter(is_name) else {
            return Err(format!(
                "has the environment {}; expected a name such as dev, test or prod",
                json(each)
            ));
        };
        names.push(name.to_owned());
    }
    if names.iter().collect::<BTreeSet<_>>().len() < names.len() {
        return Err(format!("has environments = {}; expected each once", json(value)));
    }
    if names.len() > ENVIRONMENTS_AT_MOST {
        return Err(format!("has {} environments; expected at most {ENVIRONMENTS_AT_MOST}", names.len()));
    }
    Ok(names)
}

#[cfg(test)]
mod tests {
    use shared::data::dataset::Dataset;

    use super::*;

    const FRANKLIN: &str =
        "[[department]]\nname = \"Franklin\"\nprotocol = \"email\"\naddress = \"dispatch@example.com\"\n";

    fn departments(text: &str) -> Result<Vec<Department>, NotADepartment> {
        read(text, &Attributes::of(&Dataset::named("us_accidents").unwrap()))
    }

    fn error(text: &str) -> String {
        departments(text).unwrap_err().to_string()
    }

    #[test]
    fn impossible_entries_are_refused() {
        let eleven: Vec<_> = (10..21).map(|number| format!("e{number}")).collect();
        let with = |line: &str| {
            let key = line.split_once(" = ").unwrap().0;
            let others = FRANKLIN.lines().filter(|line| !line.starts_with(&format!("{key} = ")));
            others.chain([line]).collect::<Vec<_>>().join("\n")
        };
        for (line, said) in [
            ("name = \"St. Mary's\"", "found \"St. Mary's\" as a name; expected letters and digits"),
            ("protocol = \"mail\"", "Franklin has the protocol \"mail\"; expected one of email, sms, https"),
            ("address = \" \"", "Franklin has no address"),
            ("protocol = \"sqs\"", "Franklin has the address \"dispatch@example.com\"; expected arn:aws:sqs"),
            ("county = \"Lucas\"", "Franklin has [\"county\"]; expected only address, environments"),
            ("environments = \"prod\"", "Franklin has environments = \"prod\"; expected a list such as"),
            ("environments = []", "Franklin has environments = []; expected a list such as"),
            ("environments = true", "Franklin has environments = true; expected a list"),
            ("environments = [\"prod\", 7]", "has the environment 7; expected a name such as"),
            ("environments = [\"Production\"]", "has the environment \"Production\"; expected a"),
            ("environments = [\"prod\", \"prod\"]", "[\"prod\", \"prod\"]; expected each once"),
            (&format!("environments = {eleven:?}"), "has 11 environments; expected at most 10"),
            ("filter = \"county\"", "Franklin has filter = \"county\"; expected a table such as"),
            ("filter = [\"county\"]", "Franklin has filter = [\"county\"]; expected a table such as"),
            ("filter = {}", "Franklin has filter = {}; expected a table such as"),
            ("filter = { county = \"Lucas\" }", "filters by county = \"Lucas\"; expected a list"),
            ("filter = { county = [] }", "Franklin filters by county = []; expected a list"),
            ("filter = { county = [[\"Lucas\"]] }", "by county with [\"Lucas\"]; expected a text"),
            ("filter = { county = [{}] }", "Franklin filters by county with {}; expected a text"),
            (
                "filter = { a = [1], b = [1], c = [1], d = [1], e = [1], f = [1] }",
                "has a filter of 6 attributes; a policy takes 5",
            ),
        ] {
            let error = error(&with(line));
            assert!(error.contains(said), "{line}: {error}");
        }
    }

    #[test]
    fn file_must_be_a_list_of_departments() {
        for (text, said) in [
            ("department = 'Franklin'", "expected [[department]], in double brackets"),
            ("[department]\nname = 'Franklin'", "expected [[department]], in double brackets"),
            ("department = ['Franklin']", "expected [[department]], in double brackets"),
            ("[[departments]]\nname = 'Franklin'", "has [\"departments\"]; expected only [[department]]"),
            ("\n[[department]\n", ":2: "),
        ] {
            assert!(error(text).contains(said), "{text}: {}", error(text));
        }
        assert_eq!(departments(""), Ok(vec![]));
    }

    #[test]
    fn an_address_is_subscribed_once() {
        let other = FRANKLIN.replace("Franklin", "Other");
        let [dev, prod] = ["dev", "prod"].map(|name| format!("environments = [\"{name}\"]\n"));
        let same = "Franklin and Other have the same address";
        assert!(error(&format!("{FRANKLIN}{other}")).contains(same));
        assert!(error(&format!("{FRANKLIN}{other}{prod}")).contains(same));
        assert_eq!(departments(&format!("{FRANKLIN}{dev}{other}{prod}")).map(|them| them.len()), Ok(2));
        assert_eq!(
            departments(&format!("{FRANKLIN}{}", other.replace('@', "@b."))).map(|them| them.len()),
            Ok(2)
        );
        assert!(error(&format!("{FRANKLIN}{FRANKLIN}")).contains("two departments are called Franklin"));
    }

    #[test]
    fn channels_of_a_topic_share_one_subscription() {
        let chat = "[[department]]\nname = \"ControlRoom\"\nprotocol = \"chat\"\n";
        let them = departments(chat).unwrap();
        let Department { protocol, address, arn, .. } = &them[0];
        assert_eq!((protocol.as_str(), address.as_str(), arn), ("https", CHAT_ADDRESS, &None));
        for address in ["\"arn:aws:chatbot::1:chat-configuration/slack-channel/ops\"", "\" \"", "7"] {
            let error = error(&format!("{chat}address = {address}\n"));
            assert!(error.contains("the protocol chat and the address"), "{error}");
        }
        let by_hand = chat
            .replace("ControlRoom", "Own")
            .replace("chat\"", &format!("https\"\naddress = \"{CHAT_ADDRESS}\""));
        for other in [chat.replace("ControlRoom", "Other"), by_hand] {
            assert!(error(&format!("{chat}{other}")).contains("have the same address, which SNS takes once"));
        }
        let [dev, prod] = ["dev", "prod"].map(|name| format!("environments = [\"{name}\"]\n"));
        let other = chat.replace("ControlRoom", "Other");
        assert_eq!(departments(&format!("{chat}{dev}{other}{prod}")).map(|them| them.len()), Ok(2));
    }

    #[test]
    fn address_in_aws_needs_all_of_its_parts() {
        for (protocol, address, is_arn) in [
            ("sqs", "arn:aws:sqs:eu-west-1:1:archive", true),
            ("sqs", "arn:aws-cn:sqs:cn-north-1:1:archive.fifo", true),
            ("lambda", "arn:aws:lambda:eu-west-1:1:function:router:live", true),
            ("sqs", "arn:aws:sqs:eu-west-1:1:", false),
            ("sqs", "arn:aws:sqs:eu-west-1::archive", false),
            ("sqs", "arn:aws:sns:eu-west-1:1:archive", false),
            ("sqs", "arn:aws:sqs:eu-west-1:1:a\n  b", false),
            ("lambda", "arn:aws:lambda:eu-west-1:1:router", false),
        ] {
            assert_eq!(arn(protocol, address).is_some(), is_arn, "{address}");
        }
    }

    #[test]
    fn example_in_the_file_is_a_valid_entry() {
        let file = include_str!("../../../../departments.toml");
        let lines = file.lines().filter_map(|line| line.strip_prefix("# "));
        let example: Vec<_> = lines.filter(|line| line.starts_with("[[") || line.contains(" = ")).collect();
        let departments = departments(&example.join("\n")).unwrap();
        let [Department { filter: Some(_), environments: Some(_), .. }] = departments.as_slice() else {
            panic!("{departments:?}");
        };
    }
}
