"""The demo's picture: a loop of HLS made once with ffmpeg, beside everything else. Without ffmpeg the page shows the poster."""

from __future__ import annotations

import asyncio
import shutil
from dataclasses import replace
from pathlib import Path

from live.infra.program import Program
from live.launch import Running

FOLDER = "media/show"  # under home; the seeded room plays /media/show/index.m3u8
WIDTH, HEIGHT = 540, 960  # a phone held upright
SECONDS, SEGMENT, RATE = 24, 2, 24  # the loop, one piece of it (s), frames per second
FONTS = (  # drawtext wants a file; the first there is
    "/usr/share/fonts/truetype/dejavu/DejaVuSans-Bold.ttf",
    "/usr/share/fonts/dejavu-sans-fonts/DejaVuSans-Bold.ttf",
    "/System/Library/Fonts/Supplemental/Arial Bold.ttf",
    "/usr/share/fonts/truetype/liberation/LiberationSans-Bold.ttf",
)


async def make(running: Running) -> None:
    """Make the video unless it is there. Any failure is one line of the log."""
    folder = running.settings.home / FOLDER
    if (folder / "index.m3u8").exists():
        return
    ffmpeg = find_ffmpeg()
    if ffmpeg is None:
        await running.say("no video: imageio-ffmpeg is not installed (extra `demo`); the page shows its poster")
        return
    draft = folder.with_name("show.draft")
    await asyncio.to_thread(_clear, draft)
    program = Program("video", command(ffmpeg, draft, find_font()), env=running.env)
    code = await running.supervisor.run_to_end(program)
    if code != 0:  # an ffmpeg without drawtext, most likely
        await asyncio.to_thread(_clear, draft)
        code = await running.supervisor.run_to_end(replace(program, argv=command(ffmpeg, draft, None)))
    if code != 0:
        await running.say(f"no video: ffmpeg ended with code {code}; the page shows its poster")
        return
    await asyncio.to_thread(_publish, draft, folder)
    await running.say("the room's video is ready")


def find_ffmpeg() -> str | None:
    """The wheel's binary (or the one it finds on PATH), None when there is none."""
    try:
        import imageio_ffmpeg
    except ImportError:
        return None
    try:
        return str(imageio_ffmpeg.get_ffmpeg_exe())
    except RuntimeError:
        return None


def find_font() -> str | None:
    """A font to draw text with."""
    return next((font for font in FONTS if Path(font).is_file()), None)


def command(ffmpeg: str, folder: Path, font: str | None) -> tuple[str, ...]:
    """ffmpeg's arguments: a turning evening sky, lanterns that drift through a whole number of rounds, a very quiet tone."""
    # On one thread: the show starts meanwhile, and needs the others.
    return (
        ffmpeg, "-hide_banner", "-loglevel", "error", "-nostdin", "-y", "-threads", "1", "-filter_threads", "1",
        "-filter_complex", graph(font), "-map", "[picture]", "-map", "[sound]",
        "-c:v", "libx264", "-preset", "veryfast", "-crf", "27", "-pix_fmt", "yuv420p", "-threads", "1",
        "-g", str(RATE * SEGMENT), "-sc_threshold", "0", "-c:a", "aac", "-b:a", "48k", "-t", str(SECONDS),
        "-f", "hls", "-hls_time", str(SEGMENT), "-hls_playlist_type", "vod", "-hls_segment_filename", str(folder / "%03d.ts"),
        str(folder / "index.m3u8"),
    )  # fmt: skip


def graph(font: str | None) -> str:
    """The filter graph. What moves is periodic in SECONDS, so that the loop has no seam."""
    turn = f"2*PI*t/{SECONDS}"
    sky = f"gradients=s={WIDTH}x{HEIGHT}:r={RATE}:d={SECONDS}:n=3:c0=0x2b2350:c1=0x8d3f6f:c2=0xe9736a:x0=0:y0=0:x1={WIDTH}:y1={HEIGHT}"
    sky += f":speed={1 / (SECONDS * RATE):.6f}:type=linear"
    parts = [f"{sky}[sky]"]
    # Radius, rounds of the loop, width and height of its path and where it starts (parts of a round).
    lanterns = ((150, 1, 0.34, 0.30, 0.0), (96, 2, 0.38, 0.36, 0.3), (64, 1, 0.42, 0.40, 0.55), (44, 3, 0.30, 0.42, 0.8))
    under = "sky"
    for number, (radius, rounds, wide, high, start) in enumerate(lanterns):
        # A soft disc, drawn once and repeated: brightest in the middle, nothing at its rim.
        glow = f"clip(1-hypot(X-{radius},Y-{radius})/{radius},0,1)"
        disc = f"color=c=0xffd9a0:s={2 * radius}x{2 * radius}:r=1:d=1,format=rgba,geq=r=255:g=217:b=160:a='200*pow({glow},1.6)'"
        parts.append(f"{disc},loop=-1:1:0,fps={RATE},trim=duration={SECONDS}[disc{number}]")
        x = f"(W-w)/2+W*{wide}*sin({rounds}*{turn}+{6.283 * start:.3f})"
        y = f"(H-h)/2+H*{high}*cos({turn}+{6.283 * start:.3f})"
        parts.append(f"[{under}][disc{number}]overlay=x='{x}':y='{y}':shortest=1[over{number}]")
        under = f"over{number}"
    if font is not None:
        # High up: below, a phone has the comments, which nobody could read over it.
        text = f"drawtext=fontfile='{font}':text='LIVE DEMO':fontsize=54:fontcolor=white@0.92:x=(w-tw)/2:y=h*0.15:shadowx=2:shadowy=3"
        under_text = f"drawtext=fontfile='{font}':text='a test picture, no real show':fontsize=22:fontcolor=white@0.8:x=(w-tw)/2:y=h*0.22"
        parts.append(f"[{under}]{text},{under_text}[picture]")
    else:
        parts.append(f"[{under}]null[picture]")
    parts.append(f"sine=frequency=196:sample_rate=44100:duration={SECONDS},volume=0.01[sound]")
    return ";".join(parts)


def _clear(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)


def _publish(draft: Path, folder: Path) -> None:
    """In one step: a page finds the whole video or none."""
    shutil.rmtree(folder, ignore_errors=True)
    draft.rename(folder)
