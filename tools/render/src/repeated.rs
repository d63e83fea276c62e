//! Resources that every function, delivery stream, bucket, queue or topic has, and that differ only in its name.

use crate::{
    metrics::{CONSUMERS, DELIVERIES, FUNCTIONS},
    yaml::{deployed, filled, pascal},
};

const BUCKETS: [&str; 6] =
    ["RawBucket", "AnalyticalBucket", "RejectsBucket", "FailuresBucket", "InboxBucket", "QueriesBucket"];
/// The queues that only the stack's own roles use; others have a policy that names their senders.
const QUEUES: [&str; 2] = ["IngestQueue", "IngestDeadLetters"];

pub(crate) fn resources() -> String {
    let mut resources = Vec::new();
    resources.extend(FUNCTIONS.map(logs));
    resources.extend(CONSUMERS.map(consumer));
    resources.extend(DELIVERIES.map(delivery_log));
    resources.extend(BUCKETS.map(bucket_policy));
    resources.extend(QUEUES.map(queue_policy));
    resources.push(topic_policy("AlertTopic", ""));
    resources.push(topic_policy("AlertFifoTopic", "  Condition: IsFifo\n"));
    resources.join("\n")
}

fn logs(function: &str) -> String {
    format!(
        "{}Logs:\n  Type: AWS::Logs::LogGroup\n  DeletionPolicy: Delete\n  UpdateReplacePolicy: Delete\n  Properties:\n    \
         LogGroupName: {}\n    RetentionInDays: !Ref LogRetentionDays\n    \
         KmsKeyId: !If [HasKey, !Ref EncryptionKeyArn, !Ref AWS::NoValue]\n",
        pascal(function),
        filled(&format!("/aws/lambda/${{Name}}-{function}-${{Environment}}"))
    )
}

fn consumer(function: &str) -> String {
    let stream = if function == "transform" { "RawStream" } else { "SevereStream" };
    format!(
        "{}Consumer:\n  Type: AWS::Kinesis::StreamConsumer\n  Condition: FansOut\n  Properties:\n    ConsumerName: {}\n    \
         StreamARN: !GetAtt {stream}.Arn\n",
        pascal(function),
        deployed(function)
    )
}

fn delivery_log(delivery: &str) -> String {
    format!(
        "{}DeliveryLogStream:\n  Type: AWS::Logs::LogStream\n  \
         Properties: {{LogGroupName: !Ref DeliveryLogs, LogStreamName: {delivery}}}\n",
        pascal(delivery)
    )
}

fn bucket_policy(bucket: &str) -> String {
    let resource = format!("[!GetAtt {bucket}.Arn, !Sub \"${{{bucket}.Arn}}/*\"]");
    format!(
        "{bucket}Policy:\n  Type: AWS::S3::BucketPolicy\n  Properties:\n    Bucket: !Ref {bucket}\n{}",
        refuses_plain_http("s3:*", &resource)
    )
}

fn queue_policy(queue: &str) -> String {
    format!(
        "{queue}Policy:\n  Type: AWS::SQS::QueuePolicy\n  Properties:\n    Queues: [!Ref {queue}]\n{}",
        refuses_plain_http("sqs:*", &format!("!GetAtt {queue}.Arn"))
    )
}

fn topic_policy(topic: &str, condition: &str) -> String {
    format!(
        "{topic}Policy:\n  Type: AWS::SNS::TopicPolicy\n{condition}  Properties:\n    Topics: [!Ref {topic}]\n{}",
        refuses_plain_http("sns:Publish", &format!("!Ref {topic}"))
    )
}

fn refuses_plain_http(action: &str, resource: &str) -> String {
    format!(
        "    PolicyDocument:\n      Version: \"2012-10-17\"\n      Statement:\n{}",
        refusal_of_plain_http(action, resource)
    )
}

/// The statement of a policy that refuses requests without encryption.
pub(crate) fn refusal_of_plain_http(action: &str, resource: &str) -> String {
    format!(
        "        - Sid: RefusePlainHttp\n          Effect: Deny\n          Principal: \"*\"\n          Action: {action}\n          Resource: {resource}\n          \
         Condition: {{Bool: {{aws:SecureTransport: \"false\"}}}}\n"
    )
}
