"""Pictures of every view, taken of the demo while requests go through it; `scripts/screenshots` runs this."""

import asyncio
import random
import sys
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx2
from playwright.async_api import Page, async_playwright

from tests.dashboard.conftest import ARGUMENTS, CHROMIUM
from tests.dashboard.few_colours import few_colours
from tests.kit.issuer import running_key_server, signing_key
from tests.process.command import RUN, environment, running_command

SECONDS_OF_TRAFFIC = 55
SIZE = {"width": 1440, "height": 900}
SMALL, LOW = {"width": 390, "height": 844}, {"width": 1280, "height": 560}
MOST_BYTES = 100_000
KEYS = (
    {"name": "mobile app", "owner": "Ada", "team": "mobile", "requests_per_minute": 3_000, "burst_size": 100},
    {"name": "web shop", "owner": "Grace", "team": "web", "requests_per_minute": 1_200, "burst_size": 60},
    {"name": "partner", "owner": "Linus", "team": "partners", "requests_per_minute": 300, "burst_size": 20},
)
RULES: Sequence[tuple[str, dict[str, Any]]] = (  # of the service of this name, or of all
    ("", {"name": "strangers", "requests_per_minute": 3_000, "burst_size": 100, "count_by": "address"}),
    ("orders", {"name": "slow writes", "requests_per_minute": 30, "burst_size": 3, "methods": ["POST"]}),
    ("payments", {"name": "payments", "requests_per_minute": 60, "burst_size": 5, "count_by": "all", "mode": "shadow"}),
)
ISSUER = {
    "name": "staff", "issuer": "https://login.example.com/realms/staff", "audiences": ["shop", "desk"],
    "algorithms": ["ES256", "EdDSA"], "requests_per_minute": 600, "burst_size": 50,
}  # fmt: skip
PROPOSED = """{
  "rate_limits": {
    "payments": { "mode": "enforce" }
  },
  "keys": {
    "partner": { "requests_per_minute": 600 }
  }
}"""


class Crowd:
    """Clients that ask for this and that, as clients do."""

    def __init__(self, proxy: str, keys: list[str]) -> None:
        self._proxy, self._keys = proxy, keys
        self._random = random.Random(7)

    async def ask(self, seconds: float) -> None:
        """Several at a time, more and less of them, for so long."""
        async with httpx2.AsyncClient(base_url=self._proxy, trust_env=False, timeout=5) as client:
            asking: set[asyncio.Task[None]] = set()
            ends = asyncio.get_running_loop().time() + seconds
            while asyncio.get_running_loop().time() < ends:
                task = asyncio.create_task(self._one(client))
                asking.add(task)
                task.add_done_callback(asking.discard)
                await asyncio.sleep(self._random.expovariate(28))
            await asyncio.gather(*asking)

    async def _one(self, client: httpx2.AsyncClient) -> None:
        method, path, share = self._random.choices(
            [
                ("GET", f"/users/{self._random.randint(1, 3)}", "known"),
                ("GET", "/orders", "known"),
                ("POST", "/orders", "known"),
                ("GET", "/public/products?page=2", "none"),
                ("GET", "/payments", "known"),
                ("GET", "/users/99", "known"),
                ("GET", "/users/1", "none"),
                ("GET", "/search?q=<script>", "known"),
            ],
            weights=[40, 20, 8, 14, 9, 3, 1, 1],
        )[0]
        key = self._random.choices(self._keys, weights=[5, 3, 2])[0]
        headers = {"X-API-Key": key} if share == "known" else {}
        body = {"json": {"product": 1}} if method == "POST" else {}
        try:
            await client.request(method, path, headers=headers, **body)  # type: ignore[arg-type]
        except httpx2.HTTPError:
            return  # the demo's payments are flaky on purpose


@asynccontextmanager
async def opened(url: str) -> AsyncIterator[Page]:
    assert CHROMIUM is not None, "there is no Chromium (Debian: apt install chromium)"
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        page = await browser.new_page(viewport=SIZE, reduced_motion="reduce")  # type: ignore[arg-type]
        await page.goto(url)
        yield page
        await browser.close()


async def take(url: str, proxy: str, keys_at: str, folder: Path) -> None:
    """`url` signs in, at `keys_at` an issuer publishes its keys. Every picture goes into `folder`."""
    base, _, token = url.partition("/#token=")
    async with httpx2.AsyncClient(
        base_url=base, headers={"Authorization": f"Bearer {token}"}, trust_env=False
    ) as operator:
        soon = (datetime.now(UTC) + timedelta(days=6)).isoformat()
        keys = [
            (await operator.post("/api/keys", json={**fields, **({"expires_at": soon} if number == 2 else {})})).json()
            for number, fields in enumerate(KEYS)
        ]
        services = {service["name"]: service["id"] for service in (await operator.get("/api/services")).json()["items"]}
        for service, rule in RULES:
            await operator.post("/api/rate-limits", json={**rule, "service_id": services.get(service)})
        await operator.post("/api/token-issuers", json={**ISSUER, "jwks_url": keys_at})
        crowd = asyncio.create_task(Crowd(proxy, [key["key"] for key in keys]).ask(SECONDS_OF_TRAFFIC + 25))
        await operator.post("/api/health/check-all")
    await asyncio.sleep(SECONDS_OF_TRAFFIC)
    async with opened(url) as page:
        await _take_all(page, folder, [key["key"] for key in keys])
    await crowd


async def _take_all(page: Page, folder: Path, api_keys: Sequence[str]) -> None:
    async def picture(name: str) -> None:
        await page.wait_for_timeout(1_200)
        await page.screenshot(path=folder / f"{name}.png")

    async def go(view: str) -> None:
        await page.evaluate("view => { location.hash = '#/' + view; }", view)
        await page.locator("main .row-open").first.wait_for()

    await go("?window=1m")
    await page.wait_for_timeout(2_500)
    await picture("dashboard")
    await go("services")
    await page.wait_for_timeout(1_500)
    await picture("services")
    await page.get_by_role("button", name="payments", exact=True).click()
    await picture("service")
    await page.keyboard.press("Escape")
    await go("routes")
    await picture("routes")
    await go("keys")
    await picture("keys")
    await page.get_by_role("button", name="New key").click()
    await page.get_by_label("Name", exact=True).fill("billing job")
    await page.get_by_role("button", name="Create key").click()
    await page.get_by_role("dialog", name="Your new key").wait_for()
    await picture("new-key")
    await page.get_by_role("button", name="I have stored it").click()
    await page.get_by_role("button", name="Yes, close").click()
    await page.get_by_role("button", name="Make a token from web shop").click()
    await page.get_by_role("dialog").get_by_label("API key").fill(api_keys[1])
    await page.get_by_role("button", name="Make a token", exact=True).click()
    await page.get_by_role("dialog").get_by_label("The token").wait_for()
    await picture("token")
    await page.keyboard.press("Escape")
    await go("issuers")
    await picture("issuers")
    await go("limits")
    await picture("limits")
    await go("history")
    await picture("history")
    await page.locator("main .row-open", has_text="Version 6").click()
    await page.get_by_role("button", name="Restore …").click()
    await page.get_by_role("dialog", name="Restore version").wait_for()
    await picture("restore")
    await page.keyboard.press("Escape")
    await page.keyboard.press("Escape")
    await page.set_viewport_size(LOW)  # type: ignore[arg-type]
    await go("logs")
    await picture("logs")
    await page.get_by_label("Status").select_option("5xx")
    await page.locator("main .row-open", has_text="/payments").first.click()
    await picture("request")
    await page.keyboard.press("Escape")
    await page.set_viewport_size(SIZE)  # type: ignore[arg-type]
    await page.evaluate("location.hash = '#/explain?path=/users/1/orders'")
    await page.locator("main .walk").wait_for()
    await page.get_by_label("API key").fill(api_keys[0])
    await page.get_by_role("button", name="Explain").click()
    await page.locator("main .walk table").first.wait_for()
    await picture("explain")
    await page.evaluate("location.hash = '#/explain?mode=batch&path=/payments'")
    await page.get_by_label("API key").fill(api_keys[2])
    await page.get_by_label("Requests a second").fill("8")
    await page.get_by_label("All fail from second").fill("20")
    await page.get_by_label("to second").fill("35")
    await page.get_by_role("button", name="Run").click()
    await page.get_by_role("region", name="Answers", exact=True).wait_for()
    await page.evaluate("scrollTo(0, 0)")
    await picture("batch")
    await page.evaluate("location.hash = '#/explain?mode=replay'")
    await page.get_by_label("What would be different").fill(PROPOSED)
    await page.get_by_role("button", name="Replay").click()
    await page.get_by_role("region", name="What would change", exact=True).wait_for()
    await page.get_by_role("button", name="Limit", exact=True).click()
    await picture("replay")
    await go("routes")
    await page.keyboard.press("Control+k")
    await page.keyboard.type("or")
    await picture("palette")
    await page.keyboard.press("Escape")
    await page.set_viewport_size(SMALL)  # type: ignore[arg-type]
    await go("?window=1m")
    await picture("small-screen")


def main(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    with (
        tempfile.TemporaryDirectory() as data,
        running_command((*RUN, "--demo"), environment(Path(data) / "data", CIRCUIT_FAILURE_THRESHOLD="4")) as demo,
        running_key_server(signing_key("2026-1"), signing_key("2026-2", "EdDSA")) as published,
    ):
        demo.stdout.wait_for(r"Ctrl-C stops everything\.")
        url = demo.stdout.wait_for(r" +(http://127\.0\.0\.1:\d+/#token=\S+)")[1]
        proxy = demo.stdout.wait_for(r" +curl -i (http://127\.0\.0\.1:\d+)/public/products")[1]
        asyncio.run(take(url, proxy, published.url, folder))
    for file in folder.glob("*.png"):
        file.write_bytes(few_colours(file.read_bytes()))
    too_large = [file.name for file in folder.glob("*.png") if file.stat().st_size > MOST_BYTES]
    assert not too_large, f"larger than {MOST_BYTES} bytes: {too_large}"
    sys.stdout.write("".join(f"{file} {file.stat().st_size}\n" for file in sorted(folder.glob("*.png"))))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
