"""Fetches pieces of S3 objects into files, and remembers on disk which pieces are there."""

import hashlib
import json
import re
import threading
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import botocore.exceptions as aws
from urllib3.exceptions import HTTPError

from container.errors import PreparationError

if TYPE_CHECKING:
    from types_boto3_s3 import S3Client
    from types_boto3_s3.type_defs import GetObjectRequestTypeDef

SEGMENT_BYTES = 32 * 1024 * 1024
READ_BYTES = 1024 * 1024
ATTEMPTS = 5

# botocore retries requests, not the reading of their bodies.
_BODY_ERRORS = (
    aws.HTTPClientError,
    aws.IncompleteReadError,
    aws.FlexibleChecksumError,
    HTTPError,
    ConnectionError,
    TimeoutError,
)


@dataclass(frozen=True, slots=True)
class S3Object:
    """One object, and the file it becomes."""

    key: str
    size: int
    etag: str
    path: Path

    @property
    def part(self) -> Path:
        """Return the file that holds what has come so far."""
        return self.path.with_name(f"{self.path.name}.part")


@dataclass(frozen=True, slots=True)
class Segment:
    """One ranged GET."""

    object: S3Object
    index: int
    offset: int
    size: int


def segments_of(wanted: S3Object) -> list[Segment]:
    """Cut an object into segments; an empty one is a single empty segment."""
    starts = range(0, max(wanted.size, 1), SEGMENT_BYTES)
    return [Segment(wanted, i, at, min(SEGMENT_BYTES, wanted.size - at)) for i, at in enumerate(starts)]


class Journal:
    """The complete segments, one JSON line each; keyed by ETag too, so that a replaced object starts anew."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._done: defaultdict[tuple[str, str], set[int]] = defaultdict(set)
        for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else ():
            try:
                key, etag, index = json.loads(line)
            except ValueError:
                continue  # the line that was being written when the last download was killed
            self._done[key, etag].add(index)

    def add(self, segment: Segment) -> bool:
        """Note a segment as complete; tell whether its object now is."""
        wanted = segment.object
        with self._path.open("a", encoding="utf-8") as file:
            file.write("\n" + json.dumps([wanted.key, wanted.etag, segment.index]))
        self._done[wanted.key, wanted.etag].add(segment.index)
        return not self.missing(wanted)

    def is_complete(self, wanted: S3Object) -> bool:
        """Tell whether this very object has become its file."""
        try:
            size = wanted.path.stat().st_size
        except OSError:
            return False
        return size == wanted.size and not self.missing(wanted)

    def missing(self, wanted: S3Object) -> list[Segment]:
        """Return the segments still to fetch."""
        done = self._done[wanted.key, wanted.etag]
        return [segment for segment in segments_of(wanted) if segment.index not in done]

    def forget(self, wanted: S3Object) -> None:
        """Start this object anew, as its bytes are gone."""
        self._done[wanted.key, wanted.etag].clear()


class Transfer:
    """Fetches segments from many threads; `stopped` ends them early."""

    def __init__(self, client: "S3Client", bucket: str, journal: Journal) -> None:
        self.received = 0
        self.stopped = threading.Event()
        self._client = client
        self._bucket = bucket
        self._journal = journal
        self._lock = threading.Lock()

    def open(self, wanted: S3Object) -> list[Segment]:
        """Prepare an object's file; return the segments to fetch."""
        wanted.path.parent.mkdir(parents=True, exist_ok=True)
        if not wanted.part.exists() or not self._journal.missing(wanted):
            self._journal.forget(wanted)
        with wanted.part.open("ab") as file:
            file.truncate(wanted.size)
        return self._journal.missing(wanted)

    def fetch(self, segment: Segment) -> None:
        """Fetch one segment, again when its body breaks off, and give the file its name when it was the last."""
        for attempt in range(1, ATTEMPTS + 1):
            try:
                checksum_is_md5 = self._fetch_once(segment)
                break
            except _BODY_ERRORS:
                if attempt == ATTEMPTS or self.stopped.wait(0.25 * 2**attempt):
                    raise
        with self._lock:
            self.received += segment.size
            is_last = self._journal.add(segment)
        if is_last:
            self._finish(segment.object, checksum_is_md5)

    def _fetch_once(self, segment: Segment) -> bool:
        """Write the segment into its place; return whether the object's ETag is the MD5 of its bytes."""
        wanted = segment.object
        # A whole object is asked for as such: only then does botocore check the checksum S3 stores with it.
        whole = segment.size == wanted.size
        request: GetObjectRequestTypeDef = {"Bucket": self._bucket, "Key": wanted.key, "IfMatch": f'"{wanted.etag}"'}
        if not whole:
            request["Range"] = f"bytes={segment.offset}-{segment.offset + segment.size - 1}"
        answer = self._client.get_object(**request)
        at = segment.offset
        with wanted.part.open("r+b") as file:
            file.seek(at)
            while data := answer["Body"].read(READ_BYTES):
                if self.stopped.is_set():
                    raise InterruptedError
                file.write(data)
                at += len(data)
        if at != segment.offset + segment.size:
            raise aws.IncompleteReadError(actual_bytes=at - segment.offset, expected_bytes=segment.size)
        encrypted_elsewhere = "kms" in answer.get("ServerSideEncryption", "")
        return bool(re.fullmatch(r"[0-9a-f]{32}", wanted.etag)) and not encrypted_elsewhere

    def _finish(self, wanted: S3Object, checksum_is_md5: bool) -> None:
        if checksum_is_md5:
            with wanted.part.open("rb") as file:
                found = hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
            if found != wanted.etag:
                wanted.part.unlink()
                raise PreparationError(f"{wanted.key} arrived damaged: its MD5 is {found}, S3 says {wanted.etag}")
        wanted.part.replace(wanted.path)
