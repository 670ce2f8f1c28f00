"""Brings `option.model_id=s3://bucket/prefix` onto a local disk: parallel, resumed, retried, checked.

Every object is cut into segments of 32 MiB, which one pool of threads fetches with ranged GETs into `NAME.part`; a
journal in the directory names the segments that are complete, so a killed download goes on where it was. A file gets
its name only when it is whole and its checksum, where S3 gives one, is right.
"""

import sys
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from pathlib import Path, PurePosixPath
from shutil import disk_usage
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import boto3
import botocore.exceptions as aws
from botocore.config import Config
from rich.console import Console as Terminal
from rich.progress import BarColumn, DownloadColumn, TransferSpeedColumn
from rich.progress import Progress as Bar

from container.errors import PreparationError
from container.files import exclusive
from container.progress import Progress
from container.segments import Journal, S3Object, Transfer

if TYPE_CHECKING:
    from types_boto3_s3 import S3Client

THREADS = 16
JOURNAL = ".lmi-download"

_DENIED = "access denied: the role needs s3:ListBucket on the bucket and s3:GetObject on the prefix"
_ADVICE = {
    "AccessDenied": _DENIED,
    "403": _DENIED,
    "NoSuchBucket": "there is no such bucket",
    "InvalidAccessKeyId": "S3 does not know the access key",
    "SignatureDoesNotMatch": "the secret key does not belong to the access key",
    "ExpiredToken": "the credentials have expired",
    "PermanentRedirect": "the bucket is in another region: set AWS_DEFAULT_REGION",
    "PreconditionFailed": "an object was replaced during the download: start again",
}


def download(url: str, target: Path, progress: Progress) -> None:
    """Make `target` hold what lies under `url`; fetch only what an earlier start has not."""
    bucket, prefix = _split(url)
    config = Config(
        retries={"mode": "standard", "total_max_attempts": 5},
        max_pool_connections=THREADS,
        connect_timeout=10,
        read_timeout=10,
    )
    try:
        client = boto3.client("s3", config=config)
        progress.step(f"model: looking at {url}")
        objects = _list(client, bucket, prefix, target, url)
        with exclusive(target.with_name(f"{target.name}.lock")):
            target.mkdir(parents=True, exist_ok=True)
            _fetch(client, bucket, objects, Journal(target / JOURNAL), progress)
    except (aws.BotoCoreError, aws.ClientError, OSError) as error:
        raise PreparationError(f"{url}: {_reason(error)}") from None


def _fetch(client: "S3Client", bucket: str, objects: list[S3Object], journal: Journal, progress: Progress) -> None:
    missing = [wanted for wanted in objects if not journal.is_complete(wanted)]
    if not missing:
        return
    transfer = Transfer(client, bucket, journal)
    segments = [segment for wanted in missing for segment in transfer.open(wanted)]
    total = sum(segment.size for segment in segments)
    check_space(total, missing[0].path)
    files = f"{len(missing)} of {len(objects)} files" if len(missing) < len(objects) else f"{len(missing)} files"
    progress.step(f"model: downloading {files}, {_size(total)}")
    pool = ThreadPoolExecutor(THREADS, "download")
    try:
        with Bar(
            BarColumn(),
            DownloadColumn(),
            TransferSpeedColumn(),
            console=Terminal(stderr=True),
            transient=True,
            disable=not sys.stderr.isatty(),
        ) as bar:
            task = bar.add_task("", total=total)
            waiting = {pool.submit(transfer.fetch, segment) for segment in segments}
            while waiting:
                done, waiting = wait(waiting, timeout=0.5, return_when=FIRST_EXCEPTION)
                for future in done:
                    future.result()
                bar.update(task, completed=transfer.received)
                progress.tick(f"{_size(transfer.received)} of {_size(total)}")
    finally:
        transfer.stopped.set()
        pool.shutdown(wait=False, cancel_futures=True)


def _split(url: str) -> tuple[str, str]:
    parts = urlsplit(url)
    prefix = parts.path.strip("/")
    if not parts.netloc:
        raise PreparationError(f"{url}: names no bucket; expected s3://bucket/prefix")
    return parts.netloc, f"{prefix}/" if prefix else ""


def _list(client: "S3Client", bucket: str, prefix: str, target: Path, url: str) -> list[S3Object]:
    """Return the objects under the prefix, without the empty ones that stand for folders."""
    objects = []
    for page in client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix):
        for entry in page.get("Contents", ()):
            name = entry["Key"].removeprefix(prefix)
            if name and not name.endswith("/"):
                path = _inside(target, name, url)
                objects.append(S3Object(entry["Key"], entry["Size"], entry["ETag"].strip('"'), path))
    if not objects:
        raise PreparationError(f"{url}: there are no objects under this prefix")
    return objects


def _inside(target: Path, name: str, url: str) -> Path:
    """Return where an object goes; a key that would leave the directory stops the start."""
    parts = PurePosixPath(name).parts
    if name.startswith("/") or ".." in parts or "\0" in name:
        raise PreparationError(f"{url}: the object name {name!r} leads out of the model directory")
    return target.joinpath(*parts)


def check_space(needed: int, path: Path) -> None:
    """Refuse to begin what cannot be finished."""
    free = disk_usage(next(parent for parent in path.parents if parent.exists())).free
    if free < needed:
        raise PreparationError(
            f"{_size(needed)} are to be downloaded into {path.parent}, where {_size(free)} are free: "
            f"set SERVING_DOWNLOAD_DIR to a larger disk"
        )


def _reason(error: Exception) -> str:
    if isinstance(error, aws.ClientError):
        answer = error.response.get("Error", {})
        code = str(answer.get("Code", ""))
        return _ADVICE.get(code) or f"S3 answered {code}: {answer.get('Message', '')}"
    if isinstance(error, aws.NoCredentialsError | aws.PartialCredentialsError):
        return "no AWS credentials: give the container a role, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
    if isinstance(error, OSError) and error.filename:
        return f"{error.filename}: {error.strerror}"
    return str(error).partition("\n")[0]


def _size(count: float) -> str:
    for unit in ("B", "kB", "MB"):
        if count < 1000:
            return f"{count:.0f} {unit}"
        count /= 1000
    return f"{count:.1f} GB"
