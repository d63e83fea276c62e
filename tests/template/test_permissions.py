"""Each role's actions are those that its function's code calls, and those that AWS needs to run it.

Which of them fails by name once it is taken away is shown on the local cloud, by `tests/e2e`.
"""

from __future__ import annotations

import re
from typing import Any

import pytest

from tests.template.rendered import EVERYTHING, KEY, Rendered, listed, rendered
from tools.local.commands import REPOSITORY
from tools.local.functions import FUNCTIONS

ALL = rendered(EVERYTHING)
DEFAULTS = rendered()

# If a function's `main` uses one of these, it makes the calls of that file.
SHARED_ADAPTERS = {
    "Stream::new": "kinesis.rs",
    "DeliveryStream::new": "firehose.rs",
    "Namespace::new": "cloudwatch.rs",
}

ACTION = re.compile(r'action: "([a-z0-9]+:[A-Za-z]+)"')

# Actions of AWS itself with the role of a function.
# Source: Lambda developer guide, "Define Lambda function permissions with an execution role" and
# the pages of its event sources; Firehose developer guide, "Controlling access with Firehose".
LOG = ["logs:CreateLogStream", "logs:PutLogEvents"]
READ_STREAM = [
    "kinesis:DescribeStream",
    "kinesis:GetRecords",
    "kinesis:GetShardIterator",
    "kinesis:ListShards",
]
READ_AS_CONSUMER = ["kinesis:DescribeStreamConsumer", "kinesis:SubscribeToShard"]
READ_QUEUE = ["sqs:DeleteMessage", "sqs:GetQueueAttributes", "sqs:ReceiveMessage"]
TRACE = ["xray:PutTelemetryRecords", "xray:PutTraceSegments"]
USE_KEY = ["kms:Decrypt", "kms:GenerateDataKey"]
LIST_BUCKET = ["s3:GetBucketLocation", "s3:ListBucket", "s3:ListBucketMultipartUploads"]
WRITE_OBJECTS = ["s3:AbortMultipartUpload", "s3:GetObject", "s3:PutObject"]
READ_SCHEMA = ["glue:GetTable", "glue:GetTableVersion", "glue:GetTableVersions"]

# The resources in a function's variables, and the actions of its code on them.
BY_VARIABLE = {
    "RAW_STREAM": ["kinesis:PutRecords"],
    "SEVERE_STREAM": ["kinesis:PutRecords"],
    "ANALYTICAL_DELIVERY_STREAM": ["firehose:PutRecordBatch"],
    "REJECTS_DELIVERY_STREAM": ["firehose:PutRecordBatch"],
    "ALERTS_DELIVERY_STREAM": ["firehose:PutRecordBatch"],
    "TOPIC_ARN": ["sns:Publish"],
    "METRIC_NAMESPACE": ["cloudwatch:PutMetricData"],
    "GLUE_TABLE": ["glue:BatchCreatePartition", "glue:GetTable"],
}

Grants = dict[str, set[str]]  # the resources of each action


def statements(stack: Rendered, role: str) -> list[dict[str, Any]]:
    """The grants of a role, from its own and its attached policies."""
    documents = [each["PolicyDocument"] for each in stack.properties(role)["Policies"]]
    documents += [
        policy["Properties"]["PolicyDocument"]
        for policy in stack.of("AWS::IAM::Policy").values()
        if f"<{role}>" in policy["Properties"]["Roles"]
    ]
    return [statement for document in documents for statement in document["Statement"]]


def granted(stack: Rendered, role: str) -> Grants:
    found: Grants = {}
    for statement in statements(stack, role):
        for action in listed(statement["Action"]):
            found.setdefault(action, set()).update(listed(statement["Resource"]))
    return found


class Needs(dict[str, set[str]]):
    """The grants that a role needs, derived from the rest of the template."""

    def add(self, actions: list[str], *resources: str) -> None:
        for action in actions:
            self.setdefault(action, set()).update(resources)


def arn(reference: str) -> str:
    """`<Name.Arn>` of `<Name>`."""
    return f"{reference.removesuffix('>')}.Arn>"


def glue(stack: Rendered, table: str) -> list[str]:
    """A table with its database and catalog, as Glue checks them."""
    name = stack.properties(table.strip("<>"))["TableInput"]["Name"]
    begin = "arn:aws:glue:eu-west-1:000000000000:"
    return [f"{begin}catalog", f"{begin}database/<Database>", f"{begin}table/<Database>/{name}"]


def needed_by_function(stack: Rendered, function: str) -> Needs:
    name = f"{function.capitalize()}Function"
    properties, needs = stack.properties(name), Needs()
    needs.add(LOG, arn(properties["LoggingConfig"]["LogGroup"]))

    sources = [each["Properties"] for each in properties["Events"].values()]
    for mapping in stack.of("AWS::Lambda::EventSourceMapping").values():
        if mapping["Properties"]["FunctionName"] == f"<{name}>":
            sources.append(
                {**mapping["Properties"], "Stream": mapping["Properties"]["EventSourceArn"]}
            )
    destinations = [
        each["DestinationConfig"]["OnFailure"]["Destination"]
        for each in (*sources, properties.get("EventInvokeConfig", {}))
        if "DestinationConfig" in each
    ]
    for source in sources:
        if "Queue" in source:
            needs.add(READ_QUEUE, source["Queue"])
            continue
        stream = source["Stream"]
        if stream.endswith(".ConsumerARN>"):
            needs.add(READ_AS_CONSUMER, stream)
            stream = stack.properties(stream[1:].partition(".")[0])["StreamARN"]
        needs.add([*READ_STREAM, "kinesis:DescribeStreamSummary"], stream)
    for bucket in destinations:
        needs.add(["s3:ListBucket"], bucket)
        needs.add(["s3:PutObject"], f"{bucket}/*")

    variables = properties["Environment"]["Variables"]
    for variable, actions in BY_VARIABLE.items():
        if variable not in variables:
            continue
        value = variables[variable]
        if variable == "GLUE_TABLE":
            needs.add(actions, *glue(stack, value))
        elif variable == "METRIC_NAMESPACE":
            needs.add(actions, "*")
        else:
            needs.add(actions, value if variable == "TOPIC_ARN" else arn(value))
    for bucket in stack.of("AWS::S3::Bucket").values():
        notified = (
            bucket["Properties"]
            .get("NotificationConfiguration", {})
            .get("LambdaConfigurations", [])
        )
        if any(each["Function"] == f"<{name}.Arn>" for each in notified):
            inbox = f"arn:aws:s3:::{bucket['Properties']['BucketName']}"
            # Objects by version, checkpoints without.
            needs.add(["s3:GetObject", "s3:GetObjectVersion"], f"{inbox}/*")
            # Checkpoints; without permission to list, S3 answers 403 for a missing one.
            needs.add(["s3:PutObject"], f"{inbox}/checkpoints/*")
            needs.add(["s3:ListBucket"], inbox)

    if "TOPIC_ARN" in variables:
        key = stack.properties(variables["TOPIC_ARN"].strip("<>"))["KmsMasterKeyId"]
        needs.add(USE_KEY, arn(key) if key.startswith("<") else key)
    if "KmsKeyArn" in properties:
        needs.add(USE_KEY, properties["KmsKeyArn"])
    if properties["Tracing"] == "Active":
        needs.add(TRACE, "*")
    return needs


def needed_by_delivery(stack: Rendered, delivery: str) -> Needs:
    properties, needs = stack.properties(delivery), Needs()
    if source := properties.get("KinesisStreamSourceConfiguration"):
        needs.add(READ_STREAM, source["KinesisStreamARN"])
    destination = properties["ExtendedS3DestinationConfiguration"]
    bucket = destination["BucketARN"]
    needs.add(LIST_BUCKET, bucket)
    needs.add(WRITE_OBJECTS, f"{bucket}/*")
    log = destination["CloudWatchLoggingOptions"]
    stream = stack.properties(log["LogStreamName"].strip("<>"))["LogStreamName"]
    begin = "arn:aws:logs:eu-west-1:000000000000:log-group:"
    needs.add(["logs:PutLogEvents"], f"{begin}{log['LogGroupName']}:log-stream:{stream}")
    if conversion := destination.get("DataFormatConversionConfiguration"):
        needs.add(READ_SCHEMA, *glue(stack, conversion["SchemaConfiguration"]["TableName"]))
    encryption = stack.properties(bucket[1:].partition(".")[0])["BucketEncryption"]
    (rule,) = encryption["ServerSideEncryptionConfiguration"]
    if key := rule["ServerSideEncryptionByDefault"].get("KMSMasterKeyID"):
        needs.add(USE_KEY, key)
    return needs


def needed(stack: Rendered, role: str) -> Needs:
    if role.endswith("DeliveryRole"):
        return needed_by_delivery(stack, role.removesuffix("Role"))
    return needed_by_function(stack, role.removesuffix("Role").lower())


STACKS = {
    "defaults": DEFAULTS,
    "everything": ALL,
    "fan-out": rendered({"EnhancedFanOut": "true"}),
    "replay": rendered({"ReplayFrom": "1764000000"}),
}
ROLES = list(ALL.of("AWS::IAM::Role"))


@pytest.mark.parametrize("stack", STACKS.values(), ids=STACKS)
@pytest.mark.parametrize("role", ROLES)
def test_a_role_has_what_it_needs_and_nothing_else(role: str, stack: Rendered) -> None:
    assert granted(stack, role) == needed(stack, role)


@pytest.mark.parametrize(
    ("role", "action", "resource"),
    [
        ("MetricsRole", "sqs:ReceiveMessage", "<IngestQueue.Arn>"),
        ("NotifyRole", "s3:PutObject", "<RawBucket.Arn>/*"),
        ("RejectsDeliveryRole", "glue:GetTable", "*"),
    ],
)
def test_an_unneeded_grant_is_found(role: str, action: str, resource: str) -> None:
    stack = rendered()
    (policy,) = stack.properties(role)["Policies"]
    policy["PolicyDocument"]["Statement"].append({"Action": action, "Resource": resource})
    assert granted(stack, role) != needed(stack, role)


def called(function: str) -> set[str]:
    """The actions that a function's code calls, as its error messages name them."""
    sources = [*(REPOSITORY / "functions" / function / "src").glob("*.rs")]
    main = (REPOSITORY / "functions" / function / "src" / "main.rs").read_text(encoding="utf-8")
    for adapter, file in SHARED_ADAPTERS.items():
        if re.search(rf"\b{adapter}", main):
            sources.append(REPOSITORY / "shared" / "src" / "aws" / file)
    return {
        action
        for source in sources
        for action in ACTION.findall(source.read_text(encoding="utf-8").split("#[cfg(test)]")[0])
    }


@pytest.mark.parametrize("function", FUNCTIONS)
def test_a_function_may_do_exactly_what_its_code_calls(function: str) -> None:
    variables = DEFAULTS.properties(f"{function.capitalize()}Function")["Environment"]["Variables"]
    by_variable = {
        action for name, actions in BY_VARIABLE.items() if name in variables for action in actions
    }
    reading = {"s3:GetObject", "s3:GetObjectVersion", "s3:PutObject"}
    objects = reading if function == "ingest" else set()
    assert by_variable | objects == called(function)


@pytest.mark.parametrize("stack", STACKS.values(), ids=STACKS)
@pytest.mark.parametrize("role", ROLES)
def test_nothing_has_a_wildcard_without_need(role: str, stack: Rendered) -> None:
    for statement in statements(stack, role):
        assert statement["Effect"] == "Allow"
        assert not any("*" in action for action in listed(statement["Action"]))
        for resource in listed(statement["Resource"]):
            # The objects of a bucket, whose names are not known in advance.
            wild = (
                resource.removesuffix("/*")
                if resource.endswith((".Arn>/*", "-dev/*", "-dev/checkpoints/*"))
                else resource
            )
            if "*" not in wild:
                continue
            # Actions without resource-level permissions.
            assert resource == "*"
            if statement["Action"] == "cloudwatch:PutMetricData":
                namespace = {"cloudwatch:namespace": "accidents_reports_namespace"}
                assert statement["Condition"] == {"StringEquals": namespace}
            else:
                assert statement["Sid"] == "Trace"


@pytest.mark.parametrize("role", ROLES)
def test_a_key_is_used_only_through_the_services(role: str) -> None:
    for statement in statements(ALL, role):
        if statement["Sid"] == "UseKey":
            services = statement["Condition"]["StringEquals"]["kms:ViaService"]
            assert all(service.endswith(".eu-west-1.amazonaws.com") for service in services)


@pytest.mark.parametrize("role", ROLES)
def test_roles_that_write_to_firehose_may_use_its_key(role: str) -> None:
    """Firehose checks at each request that its caller may use the key.

    Source: Firehose developer guide, "Data protection in Amazon Data Firehose".
    """
    if "firehose:PutRecordBatch" not in granted(ALL, role):
        return
    of_key = [each for each in statements(ALL, role) if KEY in listed(each["Resource"])]
    through = [each for each in of_key if "Condition" in each]
    assert all(set(each["Action"]) == set(USE_KEY) for each in of_key)
    assert any(
        "firehose.eu-west-1.amazonaws.com" in each["Condition"]["StringEquals"]["kms:ViaService"]
        for each in through
    )
    # AWS does not document whether this check counts as made through Firehose.
    assert any("Condition" not in each for each in of_key)


OPTIONAL = {"UseKey", "EncryptDeliveries", "Trace", "ReadAsConsumer"}


@pytest.mark.parametrize("role", ROLES)
def test_an_option_that_is_off_grants_nothing(role: str) -> None:
    assert not OPTIONAL & {statement["Sid"] for statement in statements(rendered(), role)}


@pytest.mark.parametrize("role", ROLES)
def test_a_role_is_assumed_only_by_its_service(role: str) -> None:
    document = rendered().properties(role)["AssumeRolePolicyDocument"]
    (statement,) = document["Statement"]
    service = "firehose" if role.endswith("DeliveryRole") else "lambda"
    assert statement["Principal"] == {"Service": f"{service}.amazonaws.com"}
