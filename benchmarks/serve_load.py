"""Load test of the service: live streams in real time and requests of 3 s clips, at once, every answer checked.

    python benchmarks/serve_load.py --clips ../shared/corpora                     # the highest rate, for a minute
    python benchmarks/serve_load.py --clips FOLDER --model small.onnx --rate 200  # this rate
    python benchmarks/serve_load.py --clips FOLDER --rate 10 --minutes 10         # is memory flat?
    python benchmarks/serve_load.py --clips FOLDER -- --threads 2                 # options of `emovox serve`

It starts `emovox serve`, opens the streams (each says its own talk of real clips, over and over, and reads running
results and utterances) and posts clips at random moments. Without `--rate` it raises the rate step by step until
requests are refused, wait too long (`--acceptable-ms` at the 95th percentile), or get lost, and then runs a minute with
the last rate that held. The probabilities of all clips and utterances are computed beforehand; an answer that differs
by more than 1e-4 counts as mixed up. Prints a table; `--output` keeps the figures as JSON.

The clients share the processors with the service, as their figures of CPU time say: on a machine of its own the
service reaches more.
"""

from __future__ import annotations

import argparse
import asyncio
import io
import json
import os
import platform
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from load_clients import RATE, Clip, Requests, Speakers, Talk, Told

import emovox
from emovox import audio
from emovox.audio import Samples, Waveform
from emovox.errors import AudioError
from emovox.inference.bundle import available_threads
from emovox.inference.recognizer import Recognizer

CLIP_S = 3.0
TALK_S = 30.0
COUNT = 64
"""Different clips that are posted."""
STEP = 1.25
"""From one rate that is tried to the next one."""


@dataclass
class Server:
    """The service in a process of its own, and what it takes.

    Attributes:
        memory: seconds since its start and resident memory in MB, every second.
    """

    process: subprocess.Popen[bytes]
    port: int
    begin: float = field(default_factory=time.monotonic)
    memory: list[tuple[float, float]] = field(default_factory=list)

    async def watch(self) -> None:
        """Take its memory down, once a second."""
        while True:
            pages = int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1])
            self.memory.append((time.monotonic() - self.begin, pages * os.sysconf("SC_PAGE_SIZE") / 1e6))
            await asyncio.sleep(1)

    def cpu_s(self) -> float:
        """CPU time so far, in seconds."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@contextmanager
def serve(model: str | None, options: Sequence[str]) -> Iterator[Server]:
    """Run `emovox serve` on a free port."""
    command = [str(Path(sys.executable).with_name("emovox")), "serve", "--port", "0", *options]
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(
            [*command, *(["--model", model] if model else [])], stdout=subprocess.DEVNULL, stderr=log
        )
        try:
            port, give_up = None, time.monotonic() + 60
            while port is None:
                time.sleep(0.1)
                log.seek(0)
                text = log.read().decode(errors="replace")
                found = re.search(r"serves on http://\S+:(\d+)", text)
                port = int(found[1]) if found and "startup complete" in text else None
                if process.poll() is not None or time.monotonic() > give_up:
                    raise SystemExit(f"emovox serve does not start:\n{text}")
            yield Server(process, port)
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(60)


def read_clips(folder: Path, count: int) -> list[Samples]:
    """Read recordings of a folder, chosen at random but always the same."""
    files = sorted(audio.find_audio([folder]))
    clips: list[Samples] = []
    for index in np.random.default_rng(0).permutation(len(files)):
        try:
            clips.append(audio.load(files[index]).samples)
        except AudioError:
            continue
        if len(clips) == count:
            break
    if not clips:
        raise SystemExit(f"{folder} holds no recordings")
    return clips


def make_clip(samples: Samples, recognizer: Recognizer) -> Clip:
    """Make a WAV of 3 s of a recording, which is repeated if it is shorter."""
    file = io.BytesIO()
    soundfile.write(file, np.resize(samples, round(CLIP_S * RATE)), RATE, "PCM_16", format="WAV")
    heard, _ = soundfile.read(io.BytesIO(file.getvalue()), dtype="float32")
    return Clip(file.getvalue(), recognizer.predict(Waveform(heard, RATE)).probabilities)


@dataclass
class Load:
    """What is asked of the service.

    Attributes:
        steps: each rate that was tried, and what came of it.
    """

    server: Server
    requests: Requests
    speakers: Speakers
    acceptable_ms: float
    steps: list[dict[str, Any]] = field(default_factory=list)

    def holds(self, told: Told) -> bool:
        """Did it answer all, and quickly?"""
        ok = told.latencies_s and not told.refused and not told.lost and not told.mixed_up
        return bool(ok) and bool(np.percentile(told.latencies_s, 95) * 1000 <= self.acceptable_ms)

    async def find_rate(self, first: float, seconds: float) -> float:
        """Raise the rate until it is too much; give the last one that held."""
        rate, held = first, 0.0
        while True:
            told = await self.requests.run(rate, seconds)
            self.steps.append({"rate": round(rate, 1), "held": self.holds(told), **told.summary()})
            note(f"  {rate:6.1f} requests/s: {line(told)}{'' if self.holds(told) else '  too much'}")
            if not self.holds(told):
                return held or rate / STEP
            held, rate = rate, rate * STEP

    async def measure(self, rate: float, seconds: float) -> dict[str, Any]:
        """Run one load for a time and take everything down."""
        self.speakers.utterances, self.speakers.updates = Told(), Told()
        self.speakers.sessions = self.speakers.speaking_updates = 0
        self.server.memory.clear()
        before, client_before, all_before = self.server.cpu_s(), time.process_time(), busy_s()
        begin = time.monotonic()
        told = await self.requests.run(rate, seconds, seed=1)
        took = time.monotonic() - begin
        server, clients = self.server.cpu_s() - before, time.process_time() - client_before
        others = max(0.0, busy_s() - all_before - server - clients)
        speaking = self.speakers.speaking_updates
        return {
            "rate": round(rate, 1),
            "seconds": round(took, 1),
            "answers_per_s": round(len(told.latencies_s) / took, 1),
            "requests": told.summary(),
            "utterances": self.speakers.utterances.summary(),
            "running_results": self.speakers.updates.summary(),
            "share_of_updates_with_results": round(len(self.speakers.updates.latencies_s) / max(1, speaking), 3),
            "streams_said_to_their_end": self.speakers.sessions,
            "server_processors": round(server / took, 2),
            "client_processors": round(clients / took, 2),
            "other_processors": round(others / took, 2),
            "memory": memory_figures(self.server.memory),
        }


def busy_s() -> float:
    """CPU time of all that runs on this machine, in seconds."""
    fields = Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:]
    user, nice, system, _, _, interrupts, soft_interrupts = map(int, fields[:7])
    return (user + nice + system + interrupts + soft_interrupts) / os.sysconf("SC_CLK_TCK")


def memory_figures(samples: Sequence[tuple[float, float]]) -> dict[str, Any]:
    """First, last and largest value in MB, one a minute, and the slope of the second half: the first warms up."""
    times, values = np.array(samples).T
    settled = times >= (times[0] + times[-1]) / 2
    slope = np.polyfit(times[settled] / 60, values[settled], 1)[0] if settled.sum() > 2 else 0.0
    return {
        "first_mb": round(float(values[0]), 1),
        "last_mb": round(float(values[-1]), 1),
        "largest_mb": round(float(values.max()), 1),
        "slope_mb_per_minute": round(float(slope), 2),
        "each_minute_mb": [round(float(value), 1) for value in values[::60]],
    }


def line(told: Told) -> str:
    found = told.summary()
    if not told.latencies_s:
        return f"no answer, {told.refused} refused, {told.lost} lost"
    return (
        f"{found['answers']:6} answers, p50 {found['p50_ms']:.0f}, p95 {found['p95_ms']:.0f},"
        f" p99 {found['p99_ms']:.0f}, max {found['max_ms']:.0f} ms; {told.refused} refused,"
        f" {told.lost} lost, {told.mixed_up} mixed up"
    )


def note(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


async def run(arguments: argparse.Namespace, server: Server, clips: Sequence[Clip], talks: Sequence[Talk]) -> Any:
    speakers = Speakers(server.port, talks)
    requests = Requests(server.port, clips)
    load = Load(server, requests, speakers, arguments.acceptable_ms)
    stop = asyncio.Event()
    speaking = asyncio.create_task(speakers.run(stop))
    watching = asyncio.create_task(server.watch())
    try:
        await asyncio.sleep(arguments.warm_up)
        rate = arguments.rate or await load.find_rate(arguments.first_rate, arguments.step)
        note(f"{rate:.1f} requests/s and {len(talks)} streams for {60 * arguments.minutes:.0f} s")
        figures = {"steps": load.steps, **await load.measure(rate, 60 * arguments.minutes)}
    finally:
        stop.set()
        await speaking
        watching.cancel()
        requests.close()
    return figures, speakers


def show(document: dict[str, Any]) -> None:
    figures = document["figures"]
    print(
        f"{document['model']['name']} ({document['model']['mb']} MB), {document['streams']} streams,"
        f" {figures['rate']} requests/s of 3 s"
    )
    print(f"{document['processors']} x {document['processor']}, shared with the clients\n")
    print(f"{'':18}{'answers':>9}{'p50':>9}{'p95':>9}{'p99':>9}{'max':>9}{'refused':>9}{'lost':>6}{'mixed up':>10}")
    for name in ("requests", "utterances", "running_results"):
        row = figures[name]
        times = "".join(f"{row.get(key, float('nan')):9.0f}" for key in ("p50_ms", "p95_ms", "p99_ms", "max_ms"))
        counts = f"{row['refused']:9}{row['lost']:6}{row['mixed_up']:10}"
        print(f"{name.replace('_', ' '):18}{row['answers']:9}{times}{counts}")
        if row["why_lost"]:
            print(f"{'':18}lost: {row['why_lost']}")
    memory = figures["memory"]
    share = 100 * figures["share_of_updates_with_results"]
    print(f"\nLatencies in ms. {figures['answers_per_s']} requests/s answered in {figures['seconds']} s.")
    print(f"{share:.0f} % of the updates while somebody spoke had a running result.")
    print(
        f"CPU: service {figures['server_processors']}, clients {figures['client_processors']}, all else on this machine"
        f" {figures['other_processors']} processors."
    )
    print(
        f"Memory: {memory['first_mb']} MB at first, {memory['last_mb']} at last, {memory['largest_mb']} at most;"
        f" {memory['slope_mb_per_minute']} MB a minute."
    )


def processor() -> str:
    """Name of the processor, as Linux gives it."""
    found = re.search(r"model name\s*:\s*(.+)", Path("/proc/cpuinfo").read_text())
    return found[1] if found else platform.machine()


def main() -> None:
    """Run the load test as the command line says."""
    own, of_server = split(sys.argv[1:])
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--clips", type=Path, required=True, help="folder with recordings of people who speak")
    parser.add_argument("--model", help="bundle; without, the packaged one")
    parser.add_argument("--streams", type=int, default=50)
    parser.add_argument("--rate", type=float, help="requests a second; without, the highest that holds")
    parser.add_argument("--minutes", type=float, default=1.0)
    parser.add_argument("--first-rate", type=float, default=4.0, help="where the search begins")
    parser.add_argument("--step", type=float, default=8.0, help="seconds at each rate of the search")
    parser.add_argument("--acceptable-ms", type=float, default=1000.0, help="95th percentile that holds")
    parser.add_argument("--warm-up", type=float, default=5.0, help="seconds of streams alone before")
    parser.add_argument("--output", type=Path)
    arguments = parser.parse_args(own)
    recognizer = Recognizer(arguments.model)
    note("Computing what must come back ...")
    recordings = read_clips(arguments.clips, COUNT)
    clips = [make_clip(samples, recognizer) for samples in recordings]
    talks = [Talk.of(recordings, recognizer, TALK_S, seed=number) for number in range(arguments.streams)]
    note("Starting the service ...")
    with serve(arguments.model, of_server) as server:
        figures, speakers = asyncio.run(run(arguments, server, clips, talks))
    figures["running_results"]["compared"] = speakers.check_updates(recognizer)
    figures["running_results"] |= {
        "mixed_up": speakers.updates.mixed_up,
        "largest_difference": round(speakers.updates.worst, 7),
    }
    document = {
        "model": {"name": recognizer.meta.name, "mb": round(recognizer.bundle.size / 1e6, 1)},
        "streams": arguments.streams,
        "clip_s": CLIP_S,
        "acceptable_ms": arguments.acceptable_ms,
        "figures": figures,
        "emovox": emovox.__version__,
        "processor": processor(),
        "processors": available_threads(),
        "platform": platform.platform(),
    }
    show(document)
    if arguments.output:
        arguments.output.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")


def split(arguments: list[str]) -> tuple[list[str], list[str]]:
    """Take what follows `--` for `emovox serve`."""
    place = arguments.index("--") if "--" in arguments else len(arguments)
    return arguments[:place], arguments[place + 1 :]


if __name__ == "__main__":
    main()
