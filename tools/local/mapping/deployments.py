"""The functions as they are deployed: their configuration and their code.

https://docs.aws.amazon.com/lambda/latest/api/API_GetFunction.html
"""

from __future__ import annotations

import io
import shutil
import threading
import urllib.request
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Deployed:
    """A function as it is deployed at one moment."""

    name: str
    arn: str
    revision: tuple[str, ...]
    timeout: float
    variables: dict[str, str]
    program: Path
    log_group: str
    reserved_concurrency: int | None  # most invocations at the same time


class Deployments:
    """Looks functions up in Lambda, and keeps their code in a folder."""

    def __init__(
        self,
        client: Any,
        endpoint: str,
        folder: Path,
        credentials_of: Callable[[str], dict[str, str]],
    ) -> None:
        self._client = client
        self._endpoint = endpoint
        self._folder = folder
        self._credentials_of = credentials_of
        self._lock = threading.Lock()

    def find(self, name: str) -> Deployed:
        found = self._client.get_function(FunctionName=name)
        configuration = found["Configuration"]
        logging = configuration.get("LoggingConfig") or {}
        group = logging.get("LogGroup") or f"/aws/lambda/{name}"
        region = configuration["FunctionArn"].split(":")[3]
        variables = {
            "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": str(configuration.get("MemorySize", 128)),
            "AWS_LAMBDA_LOG_FORMAT": logging.get("LogFormat", "Text"),
            "AWS_LAMBDA_LOG_GROUP_NAME": group,
            "AWS_REGION": region,
            "AWS_DEFAULT_REGION": region,
            "TZ": ":UTC",
            **self._credentials_of(name),
            **(configuration.get("Environment") or {}).get("Variables", {}),
            # The function finds the local cloud by it, whatever its own variables say.
            "AWS_ENDPOINT_URL": self._endpoint,
        }
        sha = configuration["CodeSha256"]
        return Deployed(
            name=name,
            arn=configuration["FunctionArn"],
            revision=(sha, configuration["LastModified"], configuration.get("RevisionId", "")),
            timeout=configuration["Timeout"],
            variables=variables,
            program=self._program(sha, found["Code"]["Location"]),
            log_group=group,
            reserved_concurrency=found.get("Concurrency", {}).get("ReservedConcurrentExecutions"),
        )

    def _program(self, sha: str, location: str) -> Path:
        """The `bootstrap` of this code, which is downloaded once."""
        folder = self._folder / "".join(each for each in sha if each.isalnum())
        program = folder / "bootstrap"
        with self._lock:
            if not program.exists():
                # The emulator's own name of its host may be another address.
                path = location.partition("://")[2].partition("/")[2]
                with urllib.request.urlopen(f"{self._endpoint}/{path}", timeout=60) as answer:
                    archive = zipfile.ZipFile(io.BytesIO(answer.read()))
                new = folder.with_suffix(".new")
                shutil.rmtree(new, ignore_errors=True)
                archive.extractall(new)
                (new / "bootstrap").chmod(0o755)
                new.rename(folder)
        return program
