"""Classifies photographs with asyncio, eight at once: asynchronous.py ADDRESS PHOTOGRAPH..."""

import asyncio
import sys

import dunlin


async def main(address: str, photographs: list[str]) -> None:
    """Prints a line for each photograph."""
    at_once = asyncio.Semaphore(8)
    async with dunlin.AsyncClient(address) as client:

        async def one(photograph: str) -> None:
            async with at_once:
                print(await client.classify(photograph, top_k=1))

        await asyncio.gather(*(one(photograph) for photograph in photographs))


asyncio.run(main(sys.argv[1], sys.argv[2:]))
