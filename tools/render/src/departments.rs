//! The departments of `departments.toml` as subscriptions in the template.

use toml::Table;

use crate::{
    repeated::refusal_of_plain_http,
    yaml::{json, quoted},
};

mod check;
mod filter;

pub(crate) use check::{NotADepartment, read};
pub(crate) use filter::Attributes;

const TOPIC: &str = "!If [IsFifo, !Ref AlertFifoTopic, !Ref AlertTopic]";
const UNDELIVERED: &str = "!If [IsFifo, !GetAtt UndeliveredFifoAlerts.Arn, !GetAtt UndeliveredAlerts.Arn]";

/// One department: where its alerts are sent, and which alerts.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Department {
    name: String,
    protocol: String,
    address: String,
    /// The address of its queue or function, if it has one.
    arn: Option<Arn>,
    /// The attribute values that an alert must have; `None` for all alerts.
    filter: Option<Table>,
    /// The environments in which it is subscribed; `None` for all.
    environments: Option<Vec<String>>,
}

/// The address of a queue or function in AWS.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Arn {
    region: String,
    account: String,
    /// The queue's name, or `function:` and the function's name.
    resource: String,
}

impl Department {
    fn is_fifo(&self) -> bool {
        self.arn
            .as_ref()
            .is_some_and(|arn| self.protocol == "sqs" && arn.resource.strip_suffix(".fifo").is_some())
    }

    /// The template's condition under which it is subscribed, unless it always is.
    fn condition(&self) -> Option<String> {
        self.environments.as_ref().map(|_| format!("Subscribes{}", self.name))
    }

    /// The condition under which its queue or function is in the stack's account and region.
    fn own_account(&self) -> String {
        format!("Owns{}", self.name)
    }

    fn conditions(&self) -> String {
        let mut lines = String::new();
        if let (Some(condition), Some(environments)) = (self.condition(), &self.environments) {
            let equal: Vec<_> =
                environments.iter().map(|each| format!("!Equals [!Ref Environment, \"{each}\"]")).collect();
            let any = match equal.as_slice() {
                [one] => one.clone(),
                several => format!("!Or [{}]", several.join(", ")),
            };
            lines += &format!("{condition}: {any}\n");
        }
        if let Some(Arn { region, account, .. }) = &self.arn {
            // CloudFormation can only change the stack's own account and region.
            let mut terms = vec![
                format!("!Equals [!Ref AWS::AccountId, \"{account}\"]"),
                format!("!Equals [!Ref AWS::Region, \"{region}\"]"),
            ];
            terms.extend(self.condition().map(|condition| format!("!Condition {condition}")));
            lines += &format!("{}: !And [{}]\n", self.own_account(), terms.join(", "));
        }
        lines
    }

    /// The subscription, and the permission for the topic to reach its endpoint.
    fn resources(&self) -> String {
        let condition = self.condition().map(|name| format!("  Condition: {name}\n")).unwrap_or_default();
        let filter = self.filter.as_ref().map(|filter| {
            // YAML reads JSON.
            format!("    FilterPolicyScope: MessageAttributes\n    FilterPolicy: {}\n", json(filter))
        });
        format!(
            "Department{}:\n  Type: AWS::SNS::Subscription\n{condition}  Properties:\n    TopicArn: {TOPIC}\n    \
             Protocol: {}\n    Endpoint: {}\n    RedrivePolicy: {{deadLetterTargetArn: {UNDELIVERED}}}\n{}{}",
            self.name,
            self.protocol,
            quoted(&self.address),
            filter.unwrap_or_default(),
            self.arn.as_ref().map(|arn| self.permission(arn)).unwrap_or_default(),
        )
    }

    /// The permission for the topic to reach a queue or function of the stack's account. Without it SNS drops every
    /// message.
    fn permission(&self, arn: &Arn) -> String {
        let (name, address, condition) = (&self.name, &self.address, self.own_account());
        if self.protocol == "lambda" {
            return format!(
                "\nDepartment{name}Permission:\n  Type: AWS::Lambda::Permission\n  Condition: {condition}\n  Properties:\n    \
                 FunctionName: {address}\n    Action: lambda:InvokeFunction\n    Principal: sns.amazonaws.com\n    \
                 SourceArn: {TOPIC}\n"
            );
        }
        let Arn { region, account, resource } = arn;
        format!(
            "\nDepartment{name}Policy:\n  Type: AWS::SQS::QueuePolicy\n  Condition: {condition}\n  Properties:\n    \
             Queues: [!Sub \"https://sqs.{region}.${{AWS::URLSuffix}}/{account}/{resource}\"]\n    \
             PolicyDocument:\n      Version: \"2012-10-17\"\n      Statement:\n        \
             - Sid: AlertsArrive\n          Effect: Allow\n          Principal: {{Service: sns.amazonaws.com}}\n          \
             Action: sqs:SendMessage\n          Resource: {address}\n          \
             Condition: {{ArnEquals: {{aws:SourceArn: {TOPIC}}}}}\n{}",
            refusal_of_plain_http("sqs:*", address)
        )
    }

    /// The assertion that the department does not belong to a stack whose `FifoAlerts` is `fifo`.
    fn is_elsewhere(&self, fifo: bool) -> String {
        match &self.environments {
            Some(environments) => format!("!Not [!Contains [{}, !Ref Environment]]", json(environments)),
            // A department without environments is in all of them.
            None => format!("!Not [!Equals [!Ref FifoAlerts, \"{fifo}\"]]"),
        }
    }
}

pub(crate) fn conditions(departments: &[Department]) -> String {
    departments.iter().map(Department::conditions).collect()
}

pub(crate) fn resources(departments: &[Department]) -> String {
    departments.iter().map(Department::resources).collect::<Vec<_>>().join("\n")
}

/// The template's rules: which departments a standard or FIFO topic cannot reach.
pub(crate) fn rules(departments: &[Department]) -> String {
    let rule = |name: &str, fifo: bool, reason: &str| {
        let unreached =
            departments.iter().filter(|each| if fifo { each.protocol != "sqs" } else { each.is_fifo() });
        let assertions: String = unreached
            .map(|department| {
                format!(
                    "    - Assert: {}\n      AssertDescription: FifoAlerts={fifo} cannot be used with the department {}, \
                     because {reason}.\n",
                    department.is_elsewhere(fifo),
                    department.name
                )
            })
            .collect();
        if assertions.is_empty() {
            return String::new();
        }
        format!(
            "{name}:\n  RuleCondition: !Equals [!Ref FifoAlerts, \"{fifo}\"]\n  Assertions:\n{assertions}"
        )
    };
    rule("FifoReachesDepartments", true, "SNS delivers a FIFO topic's messages to SQS queues only")
        + &rule("DepartmentsAreReachedByTopic", false, "a FIFO queue takes the messages of a FIFO topic only")
}
