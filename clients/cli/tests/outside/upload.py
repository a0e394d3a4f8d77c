"""Posts pictures as the old load generators do: one new connection each, status must be exactly 200."""

import sys
from concurrent.futures import ThreadPoolExecutor

import requests


def post(field: str, url: str, path: str, picture: str) -> str:
    with open(picture, "rb") as file:
        answer = requests.post(url + path, files={field: file}, allow_redirects=False)
    if answer.status_code != 200:
        sys.exit(f"{field} {path} {picture}: {answer.status_code} {answer.text}")
    return f"{field} {path} {answer.text}"


def main() -> None:
    url, *pictures = sys.argv[1:]
    jobs = [(field, url, path, picture) for field, path in (("myfile", "/upload"), ("inputFile", "/")) for picture in pictures]
    with ThreadPoolExecutor(max_workers=100) as executor:
        for line in executor.map(lambda job: post(*job), jobs):
            print(line)


main()
