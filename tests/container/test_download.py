"""Models from S3, against moto's server in a process of its own: whole, resumed, repaired, or refused in one line."""

import hashlib
import io
import os
import random
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import boto3
import pytest
from botocore.config import Config

from container.download import JOURNAL, check_space
from container.errors import PreparationError
from container.segments import SEGMENT_BYTES
from tests.container.processes import ROOT
from tests.container.s3_proxy import S3Proxy
from tests.e2e.server import free_port
from tests.timing import LONG_SECONDS, eventually

if TYPE_CHECKING:
    from types_boto3_s3 import S3Client

BUCKET = "models"
CREDENTIALS = {"AWS_ACCESS_KEY_ID": "id", "AWS_SECRET_ACCESS_KEY": "key", "AWS_DEFAULT_REGION": "us-east-1"}
WEIGHTS = random.Random(3).randbytes(2 * SEGMENT_BYTES + 1000)


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    port = free_port()
    argv = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    server = subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def answers() -> bool:
        with suppress(OSError), socket.create_connection(("127.0.0.1", port)):
            return True
        return False

    eventually(answers, "moto answers")
    yield f"http://127.0.0.1:{port}"
    server.kill()
    server.wait()


@pytest.fixture(scope="module")
def s3(endpoint: str) -> "S3Client":
    client = boto3.client(
        "s3",
        endpoint_url=endpoint,
        aws_access_key_id="id",
        aws_secret_access_key="key",
        region_name="us-east-1",
        config=Config(retries={"total_max_attempts": 1}),
    )
    client.create_bucket(Bucket=BUCKET)
    client.put_object(Bucket=BUCKET, Key="llama/", Body=b"")
    client.put_object(Bucket=BUCKET, Key="llama/config.json", Body=b"{}")
    client.put_object(Bucket=BUCKET, Key="llama/empty", Body=b"")
    client.put_object(Bucket=BUCKET, Key="llama/weights.safetensors", Body=WEIGHTS)
    for number in range(30):
        client.put_object(Bucket=BUCKET, Key=f"llama/adapters/a-{number}/weights", Body=f"{number}".encode())
    client.put_object(Bucket=BUCKET, Key="llama-2/config.json", Body=b"another model")
    client.upload_fileobj(io.BytesIO(WEIGHTS[: 17 * 2**20]), BUCKET, "parts/weights")  # boto3 cuts at 8 MiB
    return client


@pytest.fixture
def proxy(endpoint: str, s3: "S3Client") -> Iterator[S3Proxy]:  # noqa: ARG001 the bucket must be there
    server = S3Proxy(endpoint)
    yield server
    server.released.set()
    server.shutdown()
    server.server_close()


def start(url: str, target: Path, endpoint: str, **more: str) -> "subprocess.Popen[str]":
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "AWS_EC2_METADATA_DISABLED": "true"}
    environment |= {**CREDENTIALS, "AWS_ENDPOINT_URL": endpoint, **more}
    argv = [sys.executable, str(Path(__file__).with_name("downloading.py")), url, str(target)]
    return subprocess.Popen(argv, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def run(url: str, target: Path, endpoint: str, **more: str) -> tuple[int, str]:
    process = start(url, target, endpoint, **more)
    said, _ = process.communicate(timeout=100)
    return process.returncode, said


def files(target: Path) -> dict[str, str]:
    found = (file for file in target.rglob("*") if file.is_file() and not file.name.startswith("."))
    return {str(file.relative_to(target)): hashlib.sha256(file.read_bytes()).hexdigest() for file in found}


def test_a_prefix_arrives_whole_and_a_second_start_fetches_nothing(proxy: S3Proxy, tmp_path: Path) -> None:
    code, said = run("s3://models/llama", tmp_path / "m", proxy.endpoint)
    assert code == 0, said
    arrived = files(tmp_path / "m")
    assert len(arrived) == 33
    assert arrived["weights.safetensors"] == hashlib.sha256(WEIGHTS).hexdigest()
    assert "downloading 33 files, 67 MB" in said
    requests = proxy.object_requests
    assert run("s3://models/llama/", tmp_path / "m", proxy.endpoint)[0] == 0
    assert proxy.object_requests == requests


def test_an_object_uploaded_in_parts_arrives(proxy: S3Proxy, tmp_path: Path) -> None:
    assert run("s3://models/parts", tmp_path / "m", proxy.endpoint)[0] == 0
    assert (tmp_path / "m" / "weights").read_bytes() == WEIGHTS[: 17 * 2**20]


def test_a_killed_download_goes_on_where_it_was(proxy: S3Proxy, tmp_path: Path) -> None:
    proxy.hold_after = 30
    killed = start("s3://models/llama", tmp_path / "m", proxy.endpoint)
    assert proxy.held.wait(LONG_SECONDS)
    journal = tmp_path / "m" / JOURNAL
    eventually(lambda: journal.read_text().count("[") >= 30, "what was answered is noted")
    killed.send_signal(signal.SIGKILL)
    killed.communicate()
    proxy.hold_after = None
    proxy.released.set()
    before = proxy.object_requests
    code, said = run("s3://models/llama", tmp_path / "m", proxy.endpoint)
    assert code == 0, said
    assert proxy.object_requests - before < 15
    assert files(tmp_path / "m")["weights.safetensors"] == hashlib.sha256(WEIGHTS).hexdigest()


def test_bodies_that_break_off_are_fetched_again(proxy: S3Proxy, tmp_path: Path) -> None:
    proxy.break_off = 3
    code, said = run("s3://models/llama", tmp_path / "m", proxy.endpoint)
    assert code == 0, said
    assert files(tmp_path / "m")["weights.safetensors"] == hashlib.sha256(WEIGHTS).hexdigest()


def test_a_body_that_always_breaks_off_stops_the_start(proxy: S3Proxy, tmp_path: Path) -> None:
    proxy.break_off = 1000
    code, said = run("s3://models/parts", tmp_path / "m", proxy.endpoint)
    assert code == 2
    assert said.splitlines()[-1].startswith("s3://models/parts: ")
    assert not (tmp_path / "m" / "weights").exists()


def test_a_changed_byte_is_noticed_and_the_file_is_fetched_anew_next_time(proxy: S3Proxy, tmp_path: Path) -> None:
    proxy.corrupt = 1
    code, said = run("s3://models/llama", tmp_path / "m", proxy.endpoint)
    assert (code, "weights.safetensors arrived damaged" in said) == (2, True)
    assert not (tmp_path / "m" / "weights.safetensors").exists()
    assert run("s3://models/llama", tmp_path / "m", proxy.endpoint)[0] == 0
    assert files(tmp_path / "m")["weights.safetensors"] == hashlib.sha256(WEIGHTS).hexdigest()


def test_a_disk_that_is_too_small_is_noticed_before(tmp_path: Path) -> None:
    with pytest.raises(PreparationError, match=r"1000000000.0 GB are to be downloaded.*set SERVING_DOWNLOAD_DIR"):
        check_space(10**18, tmp_path / "m" / "weights")


def test_a_file_of_the_wrong_size_and_a_replaced_object_are_fetched_anew(
    proxy: S3Proxy, s3: "S3Client", tmp_path: Path
) -> None:
    s3.put_object(Bucket=BUCKET, Key="changing/a", Body=b"first")
    s3.put_object(Bucket=BUCKET, Key="changing/b", Body=b"whole")
    assert run("s3://models/changing", tmp_path / "m", proxy.endpoint)[0] == 0
    s3.put_object(Bucket=BUCKET, Key="changing/a", Body=b"later")
    (tmp_path / "m" / "b").write_bytes(b"who")
    assert run("s3://models/changing", tmp_path / "m", proxy.endpoint)[0] == 0
    assert [(tmp_path / "m" / name).read_bytes() for name in "ab"] == [b"later", b"whole"]


def test_an_object_name_that_leads_out_of_the_directory_is_refused(
    endpoint: str, s3: "S3Client", tmp_path: Path
) -> None:
    s3.put_object(Bucket=BUCKET, Key="evil/../../outside", Body=b"x")
    code, said = run("s3://models/evil", tmp_path / "m", endpoint)
    assert code == 2
    assert "leads out of the model directory" in said
    assert not (tmp_path / "outside").exists()


@pytest.mark.usefixtures("s3")
@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("s3://nowhere/llama", "there is no such bucket"),
        ("s3://models/missing", "there are no objects under this prefix"),
        ("s3:///llama", "names no bucket"),
        ("s3://models/llama/config.json", "there are no objects under this prefix"),
    ],
)
def test_what_cannot_be_found_is_said_in_one_line(
    endpoint: str,
    tmp_path: Path,
    url: str,
    reason: str,
) -> None:
    code, said = run(url, tmp_path / "m", endpoint)
    assert code == 2
    assert reason in said.splitlines()[-1]


def test_missing_credentials_are_said_in_one_line(endpoint: str, tmp_path: Path) -> None:
    code, said = run("s3://models/llama", tmp_path / "m", endpoint, AWS_ACCESS_KEY_ID="", AWS_SECRET_ACCESS_KEY="")
    assert code == 2
    assert "no AWS credentials" in said.splitlines()[-1]


def test_an_unreachable_s3_is_said_in_one_line(tmp_path: Path) -> None:
    code, said = run("s3://models/llama", tmp_path / "m", "http://127.0.0.1:9")
    assert code == 2
    assert "Could not connect to the endpoint" in said.splitlines()[-1]
