"""The inbox: which objects reach ingest, and the permissions to read them."""

from tests.template.rendered import rendered

STACK = rendered()
INBOX = STACK.properties("InboxBucket")


def test_objects_of_every_name_reach_ingest() -> None:
    # A filter compares suffixes by case. Nobody would notice skipped objects until they expire.
    (notification,) = INBOX["NotificationConfiguration"]["LambdaConfigurations"]
    assert notification == {"Event": "s3:ObjectCreated:*", "Function": "<IngestFunction.Arn>"}


def test_the_inbox_has_versions_and_ingest_may_read_them() -> None:
    assert INBOX["VersioningConfiguration"] == {"Status": "Enabled"}
    (policy,) = STACK.properties("IngestRole")["Policies"]
    statements = {each["Sid"]: each for each in policy["PolicyDocument"]["Statement"] if each}
    assert "s3:GetObjectVersion" in statements["ReadInbox"]["Action"]


def test_chains_of_continuations_are_not_stopped_as_loops() -> None:
    assert STACK.properties("IngestFunction")["RecursiveLoop"] == "Allow"
