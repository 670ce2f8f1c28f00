"""Check 1 and must-show 1: started with nothing at all, the server says how to ask it, and the answer is right."""

import subprocess

from tests.e2e.client import sse
from tests.e2e.server import Server
from tests.timing import LONG_SECONDS

QUESTION = {"messages": [{"role": "user", "content": "What is the capital of France?"}], "temperature": 0}


def test_must_show_1_the_line_to_paste_answers_paris(smollm: Server) -> None:
    (line,) = [line.strip() for line in smollm.output.splitlines() if line.strip().startswith("curl ")]
    done = subprocess.run(["bash", "-c", line], capture_output=True, text=True, timeout=LONG_SECONDS, check=False)
    assert done.returncode == 0, done.stderr
    assert "Paris" in done.stdout


def test_check_1_it_listens_on_port_8080_of_every_address(smollm: Server) -> None:
    addresses = {
        (c.laddr.ip, c.laddr.port) for p in smollm.family() for c in p.net_connections("tcp") if c.status == "LISTEN"
    }
    assert ("0.0.0.0", 8080) in addresses
    assert {ip for ip, port in addresses if port != 8080} <= {"127.0.0.1", "::1"}


def test_the_start_tells_what_is_slow_in_a_handful_of_lines(smollm: Server) -> None:
    lines = smollm.output.split("curl ")[0].splitlines()
    start = [line for line in lines if "still going on" not in line]  # a sign of life every 15 s, on a slow machine
    assert 2 <= len(start) <= 15, smollm.output
    assert [line for line in start if " s]" in line]


def test_answers_are_right_in_every_schema(smollm: Server) -> None:
    api = smollm.client
    assert "Paris" in api.answer({**QUESTION, "max_tokens": 10})["choices"][0]["message"]["content"]
    text = {"inputs": "The capital of France is", "parameters": {"max_new_tokens": 4}}
    assert "Paris" in api.answer(text)["generated_text"]
    chunks = sse(api.stream({**QUESTION, "max_tokens": 10})[1])
    assert "Paris" in "".join(chunk["choices"][0]["delta"].get("content") or "" for chunk in chunks)
