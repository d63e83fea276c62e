"""The inbox: which objects reach ingest."""

from tests.template.rendered import rendered

STACK = rendered()


def test_objects_of_every_name_reach_ingest() -> None:
    # A filter compares suffixes by case. Nobody would notice skipped objects until they expire.
    notifications = STACK.properties("InboxBucket")["NotificationConfiguration"]
    (notification,) = notifications["LambdaConfigurations"]
    assert notification == {"Event": "s3:ObjectCreated:*", "Function": "<IngestFunction.Arn>"}


def test_chains_of_continuations_are_not_stopped_as_loops() -> None:
    assert STACK.properties("IngestFunction")["RecursiveLoop"] == "Allow"
