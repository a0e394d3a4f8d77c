"""Classifies many photographs and shows each one's life as it happens: stream.py ADDRESS PHOTOGRAPH..."""

import sys

import dunlin

address, *photographs = sys.argv[1:]
with dunlin.Client(address) as client:
    for event in client.classify_stream(photographs, progress=True, top_k=1):
        name = photographs[event.index]
        if isinstance(event, dunlin.Progress):
            print(f"{name}: {event.state.lower()} {event.worker_id}")
        elif event.ok:
            print(f"{name}: {event.label} {event.score:.0%}")
        else:
            print(f"{name}: {event.error}")
