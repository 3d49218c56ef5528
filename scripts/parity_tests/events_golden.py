"""Makes, with TensorBoard's own code, the event files that EventWriter has to equal byte for byte, and reads them back.

  python scripts/parity_tests/events_golden.py            writes tests/golden/events/{first,resumed}.bin
  python scripts/parity_tests/events_golden.py FOLDER     prints what TensorBoard reads in FOLDER, as JSON

Needs the package tensorboard (scripts/parity makes an environment that has it).
"""

import json
import pathlib
import struct
import sys
import tempfile
import zlib

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.compat.proto import event_pb2, summary_pb2
from tensorboard.summary.writer.record_writer import RecordWriter

OUT = pathlib.Path(__file__).resolve().parents[2] / "tests/golden/events"


def grey_png():
    """One grey pixel."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", 1, 1, 8, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0\x80")) + chunk(b"IEND", b"")
    )


def write(path, events):
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "wb") as file:
        writer = RecordWriter(file)
        for event in events:
            writer.write(event.SerializeToString())


def scalar(wall_time, tag, value, step):
    values = [summary_pb2.Summary.Value(tag=tag, simple_value=value)]
    return event_pb2.Event(wall_time=wall_time, step=step, summary=summary_pb2.Summary(value=values))


def image(wall_time, tag, step):
    picture = summary_pb2.Summary.Image(height=1, width=1, colorspace=1, encoded_image_string=grey_png())
    values = [summary_pb2.Summary.Value(tag=tag, image=picture)]
    return event_pb2.Event(wall_time=wall_time, step=step, summary=summary_pb2.Summary(value=values))


def version(wall_time):
    return event_pb2.Event(wall_time=wall_time, file_version="brain.Event:2")


def start(wall_time, step):
    log = event_pb2.SessionLog(status=event_pb2.SessionLog.START)
    return event_pb2.Event(wall_time=wall_time, step=step, session_log=log)


def read(folder):
    accumulator = EventAccumulator(str(folder), size_guidance={"scalars": 0, "images": 0})
    accumulator.Reload()
    tags = accumulator.Tags()
    return {
        "scalars": {tag: [(e.step, e.value) for e in accumulator.Scalars(tag)] for tag in tags["scalars"]},
        "images": {
            tag: [(e.step, e.width, e.height, len(e.encoded_image_string)) for e in accumulator.Images(tag)]
            for tag in tags["images"]
        },
    }


def main():
    if len(sys.argv) > 1:
        print(json.dumps(read(sys.argv[1])))
        return
    first = [version(1000.5)]
    first += [scalar(1000.5, "train/loss", 2.0 - step / 4, step) for step in range(5)]
    first += [image(1000.5, "maps/0", 3), scalar(1000.5, "val/top1", 61.25, 300)]
    resumed = [version(2000.25), start(2000.25, 3), scalar(2000.25, "train/loss", float("inf"), 3)]
    write(OUT / "first.bin", first)
    write(OUT / "resumed.bin", resumed)
    with tempfile.TemporaryDirectory() as folder:
        write(pathlib.Path(folder) / "events.out.tfevents.1000.h.1.0", first)
        write(pathlib.Path(folder) / "events.out.tfevents.2000.h.2.0", resumed)
        found = read(folder)
    assert found["scalars"]["train/loss"] == [(0, 2.0), (1, 1.75), (2, 1.5), (3, float("inf"))], found
    assert found["scalars"].get("val/top1", []) == [] and found["images"].get("maps/0", []) == [], found


if __name__ == "__main__":
    main()
