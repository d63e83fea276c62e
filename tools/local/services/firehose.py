"""Firehose, with buffers: one object for each partition and interval, instead of one per record.

The emulator takes the requests and hands its records over. Those that come from a
Kinesis stream are de-aggregated here. Then they are partitioned, buffered, converted and written,
as AWS documents it. What is not done here is refused by its name when a delivery stream is made.
"""

from __future__ import annotations

import base64
import contextvars
import gzip
import json
import logging
import threading
import time
import uuid
from collections import Counter
from dataclasses import dataclass
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError
from ministack.services import cloudwatch, firehose

from tools.local.clients import client
from tools.local.kpl import user_records
from tools.local.services.buffering import Batch, Buffers, Hints, Record
from tools.local.services.conversion import Row, parquet, rows_of

log = logging.getLogger("firehose")

# The template's shortest interval is a minute, and its default. Nobody waits that long for a demo.
INTERVALS_ARE_SHORTER_BY = 30
PAUSE_SECONDS = 0.25
METRIC_SECONDS = 5
LONGEST_WAIT_SECONDS = 30  # between two attempts to write a batch
MIB = 1024 * 1024
# https://docs.aws.amazon.com/firehose/latest/dev/limits.html
MOST_PARTITIONS = 500

Refused = firehose._DeliveryError
own_create = firehose._create_delivery_stream
own_update = firehose._update_destination
deliveries: dict[str, Delivery] = {}


def install() -> None:
    firehose._deliver_records_to_s3 = accept
    firehose._create_delivery_stream = create
    firehose._HANDLERS["CreateDeliveryStream"] = create
    firehose._HANDLERS["UpdateDestination"] = update
    threading.Thread(target=deliver, name="firehose", daemon=True).start()


@dataclass(frozen=True)
class Partition:
    """What the records of an object share."""

    prefix: str
    error: str = ""  # the kind of error, for the records that could not be delivered


def create(request: dict[str, Any]) -> Any:
    problem = unsupported(request, "Configuration")
    return firehose._invalid(problem) if problem else own_create(request)


def update(request: dict[str, Any]) -> Any:
    problem = unsupported(request, "Update")
    return firehose._invalid(problem) if problem else own_update(request)


def unsupported(request: dict[str, Any], suffix: str) -> str | None:
    """What a delivery stream asks for that is not done here, if so."""
    own = f"ExtendedS3Destination{suffix}"
    for name in request:
        if name.endswith(f"Destination{suffix}") and name != own:
            return f"{name} is not supported by the local cloud; expected {own}"
    config = request.get(own) or {}
    if (compression := config.get("CompressionFormat", "UNCOMPRESSED")) not in EXTENSIONS:
        return f"CompressionFormat: {compression} is not supported by the local cloud"
    for name, expected in (("S3BackupMode", "Disabled"), ("CustomTimeZone", "UTC")):
        if config.get(name, expected) != expected:
            return f"{name}: {config[name]} is not supported by the local cloud"
    for processor in (config.get("ProcessingConfiguration") or {}).get("Processors", []):
        if processor["Type"] != "MetadataExtraction":
            return f"the processor {processor['Type']} is not supported by the local cloud"
        given = {each["ParameterName"]: each["ParameterValue"] for each in processor["Parameters"]}
        try:
            firehose._jq_parse(given["MetadataExtractionQuery"])
        except ValueError as error:
            return f"MetadataExtractionQuery: {error}; not supported by the local cloud"
    conversion = config.get("DataFormatConversionConfiguration")
    if conversion and conversion.get("Enabled", True):
        reader = conversion["InputFormatConfiguration"]["Deserializer"]
        writer = conversion["OutputFormatConfiguration"]["Serializer"]
        for found, expected in ((reader, "OpenXJsonSerDe"), (writer, "ParquetSerDe")):
            if set(found) != {expected}:
                return f"{', '.join(found)} is not supported by the local cloud, only {expected}"
    return None


def accept(
    stream: dict[str, Any], destination: dict[str, Any], records: list[tuple[str, bytes]]
) -> None:
    """Takes over records that a delivery stream has been given."""
    delivery = deliveries.get(stream["arn"]) or Delivery()
    delivery.configure(stream, destination)
    deliveries[stream["arn"]] = delivery
    # The emulator would keep every record until it ends.
    destination["records"].clear()
    delivery.accept([data for _, data in records], time.time())


def deliver() -> None:
    """Writes what is due, for as long as the local cloud runs."""
    while True:
        time.sleep(PAUSE_SECONDS)
        for arn, delivery in list(deliveries.items()):
            try:
                if delivery.deleted:
                    del deliveries[arn]
                else:
                    delivery.write_due(time.time())
            except Exception:
                log.exception("Firehose %s could not be worked on; it is tried again", arn)


EXTENSIONS = {"UNCOMPRESSED": "", "GZIP": ".gz"}


class Delivery:
    """One delivery stream."""

    def __init__(self) -> None:
        self._buffers = Buffers()
        self._lock = threading.Lock()
        self._counts: Counter[str] = Counter()
        self._reported = 0.0

    def configure(self, stream: dict[str, Any], destination: dict[str, Any]) -> None:
        self._stream = stream
        self._destination = destination
        # The account and the region of the request, for what is written later.
        self._context = contextvars.copy_context()

    @property
    def config(self) -> dict[str, Any]:
        return self._destination["config"]

    @property
    def hints(self) -> Hints:
        hints = self.config.get("BufferingHints") or {}
        interval = float(hints.get("IntervalInSeconds", 300))
        return Hints(
            size=int(hints.get("SizeInMBs", 5)) * MIB,
            interval=interval / INTERVALS_ARE_SHORTER_BY,
        )

    @property
    def conversion(self) -> dict[str, Any] | None:
        found = self.config.get("DataFormatConversionConfiguration")
        return found if found and found.get("Enabled", True) else None

    @property
    def deleted(self) -> bool:
        """Whether the delivery stream is gone, and with it what it had not written, as on AWS."""
        return self._context.run(firehose._streams.get, self._stream["name"]) is None

    @property
    def from_kinesis(self) -> bool:
        return self._stream["type"] == "KinesisStreamAsSource"

    def accept(self, records: list[bytes], now: float) -> None:
        if self.from_kinesis:
            records = [each for data in records for each in user_records(data)]
        with self._lock:
            self._counts["IncomingRecords"] += len(records)
            self._counts["IncomingBytes"] += sum(map(len, records))
            for data in records:
                record = Record(data, now)
                try:
                    partition = self._partition(record)
                except Refused as error:
                    self._refuse(record, error)
                else:
                    self._buffers.add(partition, record, self.hints)

    def _partition(self, record: Record) -> Partition:
        keys = None
        if (self.config.get("DynamicPartitioningConfiguration") or {}).get("Enabled"):
            keys = firehose._metadata_extraction_keys(self.config, record.data)
        arrived = time.gmtime(record.arrived)
        partition = Partition(
            firehose._evaluate_prefix(self.config.get("Prefix", ""), arrived, keys)
        )
        if partition not in self._buffers and self._buffers.partitions >= MOST_PARTITIONS:
            self._counts["PartitionCountExceeded"] = 1
            raise Refused("processing-failed", f"more than {MOST_PARTITIONS} active partitions")
        return partition

    def _refuse(self, record: Record, error: Refused) -> None:
        """Keeps a record for the error prefix, in the form of Firehose."""
        if error.output_type == "format-conversion-failed":
            self._counts["FailedConversion.Records"] += 1
        arrived = time.gmtime(record.arrived)
        kind = error.output_type
        if self.config.get("ErrorOutputPrefix"):
            prefix = firehose._evaluate_prefix(
                self.config["ErrorOutputPrefix"], arrived, error_type=kind
            )
        else:
            day = firehose._java_time("yyyy/MM/dd/HH/", arrived)
            prefix = f"{self.config.get('Prefix', '')}{kind}/{day}"
        document = json.dumps(self._error_document(record, error)) + "\n"
        self._buffers.add(
            Partition(prefix, kind), Record(document.encode(), record.arrived), self.hints
        )

    def _error_document(self, record: Record, error: Refused) -> dict[str, Any]:
        """Source: https://docs.aws.amazon.com/firehose/latest/dev/ with
        record-format-conversion-error-handling.html, which has names in capitals, and
        data-transformation-failure-handling.html."""
        document = {
            "attemptsMade": 1,
            "arrivalTimestamp": round(record.arrived * 1000),
            "errorCode": error.code or "DynamicPartitioning.MetadataExtractionFailed",
            "errorMessage": error.message,
            "attemptEndingTimestamp": round(time.time() * 1000),
            "rawData": base64.b64encode(record.data).decode(),
        }
        if error.output_type == "format-conversion-failed" and self.conversion:
            document["ErrorCode"] = document.pop("errorCode")
            document["ErrorMessage"] = document.pop("errorMessage")
            schema = self.conversion["SchemaConfiguration"]
            document["dataCatalogTable"] = {
                "catalogId": schema.get("CatalogId"),
                "databaseName": schema["DatabaseName"],
                "tableName": schema["TableName"],
                "region": schema.get("Region"),
                "versionId": schema.get("VersionId", "LATEST"),
            }
        return document

    def write_due(self, now: float) -> None:
        with self._lock:
            batches = self._buffers.due(now, self.hints)
        for batch in batches:
            try:
                self._write(batch)
            # Whatever went wrong: the batch is kept, and the error is shown in three places.
            except Exception as error:
                wait = min(2**batch.failures, LONGEST_WAIT_SECONDS)
                with self._lock:
                    self._buffers.give_back(batch, now + wait)
                self._counts["failed writes"] += 1
                code = "InternalError"
                if isinstance(error, ClientError):
                    code = f"S3.{error.response['Error']['Code']}"
                self._report_error(code, str(error))
        if batches or now - self._reported >= METRIC_SECONDS:
            self._report(now)

    def _write(self, batch: Batch) -> None:
        extension = ""
        if batch.partition.error:
            body = b"".join(record.data for record in batch.records)
        elif self.conversion:
            rows, columns = self._converted(batch)
            if not rows:
                return
            writer = self.conversion["OutputFormatConfiguration"]["Serializer"]["ParquetSerDe"]
            body = parquet(rows, columns, (writer or {}).get("Compression", "SNAPPY"))
            extension = ".parquet"
        else:
            compression = self.config.get("CompressionFormat", "UNCOMPRESSED")
            extension = EXTENSIONS[compression]
            body = b"".join(record.data for record in batch.records)
            body = gzip.compress(body) if compression == "GZIP" else body
        written = firehose._java_time("yyyy-MM-dd-HH-mm-ss", time.gmtime())
        name = f"{self._stream['name']}-{self._stream['version']}-{written}-{uuid.uuid4()}"
        client("s3").put_object(
            Bucket=firehose._s3_bucket_from_arn(self.config["BucketARN"]),
            Key=f"{batch.partition.prefix}{name}{self.config.get('FileExtension') or extension}",
            Body=body,
        )
        self._counts["writes"] += 1
        self._counts["DeliveryToS3.Records"] += len(batch.records)
        self._counts["DeliveryToS3.Bytes"] += len(body)

    def _converted(self, batch: Batch) -> tuple[list[Row], list[dict[str, str]]]:
        """The rows of a batch, which keeps the records that can be converted only."""
        conversion = self.conversion or {}
        serde = conversion["InputFormatConfiguration"]["Deserializer"]["OpenXJsonSerDe"] or {}
        columns = self._columns(conversion["SchemaConfiguration"])
        rows: list[Row] = []
        good, errors = [], Counter()
        for record in batch.records:
            try:
                if columns is None:
                    raise firehose._conversion_error("table")
                rows += rows_of(record.data, columns, serde)
                good.append(record)
            except Refused as error:
                with self._lock:
                    self._refuse(record, error)
                errors[error.code, error.message] += 1
        batch.records = good
        for (code, message), count in errors.items():
            self._report_error(code, f"{message} Records: {count}.")
        self._counts["SucceedConversion.Records"] += len(good)
        return rows, columns or []

    def _columns(self, schema: dict[str, Any]) -> list[dict[str, str]] | None:
        """The columns of the Glue table, or none if it is not there."""
        try:
            table = client("glue").get_table(
                DatabaseName=schema["DatabaseName"], Name=schema["TableName"]
            )["Table"]
        except ClientError as error:
            if error.response["Error"]["Code"] == "EntityNotFoundException":
                return None
            raise
        return table["StorageDescriptor"]["Columns"]

    def _report(self, now: float) -> None:
        """Publishes what happened since the last report."""
        self._reported = now
        with self._lock:
            counts, self._counts = self._counts, Counter()
            oldest, partitions = self._buffers.oldest, self._buffers.partitions
        written, failed = counts.pop("writes", 0), counts.pop("failed writes", 0)
        values: dict[str, float] = dict(counts)
        if written or failed:
            values["DeliveryToS3.Success"] = written / (written + failed)
        if oldest is not None or written:
            values["DeliveryToS3.DataFreshness"] = 0 if oldest is None else now - oldest
            values["PartitionCount"] = partitions
        if self.from_kinesis and values:
            # Its records are taken over as they are put on the stream.
            values["KinesisMillisBehindLatest"] = 0
        of = {"DeliveryStreamName": self._stream["name"]}
        for name, value in values.items():
            self._context.run(
                cloudwatch.record_metric, "AWS/Firehose", name, value, "None", dimensions=of
            )

    def _report_error(self, code: str, message: str) -> None:
        """Shows an error in the log of the emulator, and in that of the delivery stream.

        Source of its form:
        https://docs.aws.amazon.com/firehose/latest/dev/monitoring-with-cloudwatch-logs.html
        """
        log.error("Firehose %s: %s: %s", self._stream["name"], code, message)
        options = self.config.get("CloudWatchLoggingOptions") or {}
        if not options.get("Enabled"):
            return
        event = {
            "deliveryStreamARN": self._stream["arn"],
            "destination": self.config["BucketARN"],
            "deliveryStreamVersionId": self._stream["version"],
            "message": message,
            "errorCode": code,
        }
        try:
            client("logs").put_log_events(
                logGroupName=options["LogGroupName"],
                logStreamName=options["LogStreamName"],
                logEvents=[{"timestamp": round(time.time() * 1000), "message": json.dumps(event)}],
            )
        except (BotoCoreError, ClientError) as error:
            log.error("Firehose %s: its log is not written: %s", self._stream["name"], error)
