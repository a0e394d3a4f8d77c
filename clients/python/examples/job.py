"""Submits photographs as a job, watches it and writes the results as CSV: job.py ADDRESS PHOTOGRAPH..."""

import csv
import sys

import dunlin

address, *photographs = sys.argv[1:]
with dunlin.Client(address) as client:
    images = [dunlin.Image(photograph, custom_id=photograph) for photograph in photographs]
    job = client.jobs.create(images, labels={"made-by": "an example"})
    print(f"# {job.name}: leave, and come back with client.jobs.watch({job.name!r})")
    for event in client.jobs.watch(job):
        if event.job is not None:
            print(f"# {event.job}")
    table = csv.writer(sys.stdout)
    for result in client.jobs.results(job):
        table.writerow([result.custom_id, result.label if result.ok else "", result.error or ""])
