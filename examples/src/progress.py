"""Printing and logging: both streams come back with the answer, in the order they were written."""

import logging
import sys

logging.basicConfig(level=logging.INFO, format="%(levelname)s %(message)s")
log = logging.getLogger("resize")


def resize(images: list[str], width: int) -> dict[str, int]:
    print(f"resizing {len(images)} images to {width} px")
    for number, image in enumerate(images, start=1):
        if not image.endswith((".png", ".jpg")):
            log.warning("%s is no image, left out", image)
            continue
        print(f"  {number}/{len(images)} {image}")
    print("done", file=sys.stderr)
    return {"width": width, "resized": sum(image.endswith((".png", ".jpg")) for image in images)}
