"""Classifies photographs, one after the other: classify.py ADDRESS PHOTOGRAPH..."""

import sys

import dunlin

address, *photographs = sys.argv[1:]
with dunlin.Client(address) as client:
    for photograph in photographs:
        try:
            result = client.classify(photograph, top_k=3, timeout=60)
        except dunlin.ImageError as error:
            print(f"{photograph}: {error.reason}")
            continue
        print(result)
        print(f"  {result.execution}")
