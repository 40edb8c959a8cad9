"""Unified limits of a real Keystone, as limits of projects."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
import pytest_asyncio

from contracts.catalog_files import opened
from contracts.catalog_samples import queued
from imaged.cli.doctor import Level
from imaged.cli.doctor.keystone import check_keystone
from imaged.core.errors import QuotaExceeded
from imaged.core.limits import MIB
from imaged.core.quota import UNIFIED_LIMIT_NAMES, UNLIMITED, Limits, LimitsUnknown, Resource
from imaged.core.secret import Secret
from imaged.keystone.limits import CACHE_SECONDS, RETRY_SECONDS, UnifiedLimits
from imaged.keystone.session import KeystoneSession
from imaged.keystone.settings import KeystoneSettings, PasswordAccount
from support.keystone import REGION, Keystone, running_keystone
from support.quotas import account, limits
from support.settings import config_of

pytestmark = [pytest.mark.asyncio, pytest.mark.slow]

DEFAULTS = {**UNLIMITED, **limits(total=5 * MIB, uploads=50)}
OTHER_REGION = "RegionTwo"


@dataclass
class Limited:
    """A Keystone with an image service, and the driver that reads its limits."""

    keystone: Keystone
    service: str
    now: float = 1000.0
    drivers: list[UnifiedLimits] = field(default_factory=list)

    def driver(self, region: str = "") -> UnifiedLimits:
        """A new one, by a clock that stands still."""
        user = self.keystone.service_user
        imaged = PasswordAccount(
            username=user.name,
            user_domain="Default",
            password=Secret(user.password),
            project="service",
            project_domain="Default",
        )
        settings = KeystoneSettings(urls=(self.keystone.url,), account=imaged, ca_file=None)
        self.drivers.append(
            UnifiedLimits(KeystoneSession(settings), DEFAULTS, region, lambda: self.now)
        )
        return self.drivers[-1]

    async def read(self, driver: UnifiedLimits, project: str) -> Limits:
        """What holds for a project, after it was read."""
        await driver.read(project)
        return driver.limits_of(account(project))

    def register(self, resource: Resource, number: int, region: str | None = None) -> None:
        """Set the limit of all projects."""
        limit = self._limit(resource, region) | {"default_limit": number}
        self.keystone.told("POST", "/registered_limits", {"registered_limits": [limit]})

    def set(self, project: str, resource: Resource, number: int, region: str | None = None) -> str:
        """Set the limit of a project; its id."""
        limit = self._limit(resource, region) | {"resource_limit": number, "project_id": project}
        found: str = self.keystone.told("POST", "/limits", {"limits": [limit]})["limits"][0]["id"]
        return found

    def change(self, limit: str, number: int) -> None:
        """Change the limit of a project."""
        self.keystone.told("PATCH", f"/limits/{limit}", {"limit": {"resource_limit": number}})

    def _limit(self, resource: Resource, region: str | None) -> dict[str, object]:
        found: dict[str, object] = {
            "service_id": self.service,
            "resource_name": UNIFIED_LIMIT_NAMES[resource],
        }
        return found | ({"region_id": region} if region else {})


@pytest.fixture(scope="module")
def image_service() -> Iterator[tuple[Keystone, str]]:
    """A Keystone of its own, because limits for all projects are registered once."""
    with running_keystone() as keystone:
        service = keystone.create_service("image", "http://127.0.0.1:1")
        keystone.create_endpoint(service, "public", "http://127.0.0.1:1", OTHER_REGION)
        limited = Limited(keystone, service)
        limited.register(Resource.IMAGES, 7)
        limited.register(Resource.STAGED, 3)
        limited.register(Resource.STAGED, 4, REGION)
        yield keystone, service


@pytest_asyncio.fixture
async def limited(image_service: tuple[Keystone, str]) -> AsyncIterator[Limited]:
    """With drivers that are closed at the end."""
    found = Limited(*image_service)
    yield found
    for driver in found.drivers:
        await driver.session.close()


async def test_of_each_resource_the_first_that_there_is(limited: Limited) -> None:
    """The project's own, those registered for all, and the defaults of the settings."""
    project = limited.keystone.create_project()
    limited.set(project, Resource.IMAGES, 2)
    without = limited.keystone.create_project()
    driver = limited.driver()

    with pytest.raises(LimitsUnknown):
        driver.limits_of(account(project))
    registered = {**DEFAULTS, **limits(staged=3 * MIB, images=7)}
    assert await limited.read(driver, project) == {**registered, Resource.IMAGES: 2}
    assert await limited.read(driver, without) == registered
    assert await limited.read(driver, "no such project") == registered


async def test_unlimited_and_regions(limited: Limited) -> None:
    """-1 is unlimited; the region of the service has its own limits, and may have few."""
    project = limited.keystone.create_project()
    limited.set(project, Resource.IMAGES, -1)
    limited.set(project, Resource.STAGED, 9, REGION)

    here = await limited.read(limited.driver(REGION), project)
    elsewhere = await limited.read(limited.driver(OTHER_REGION), project)

    assert (here[Resource.IMAGES], here[Resource.STAGED]) == (None, 9 * MIB)
    assert (elsewhere[Resource.IMAGES], elsewhere[Resource.STAGED]) == (None, 3 * MIB)


async def test_a_change_is_seen_within_the_cache_time(limited: Limited) -> None:
    """Until then the known limit holds; after it, no limit holds that was not read again."""
    project = limited.keystone.create_project()
    limit, driver = limited.set(project, Resource.IMAGES, 2), limited.driver()
    await limited.read(driver, project)
    limited.change(limit, 5)

    limited.now += CACHE_SECONDS - 1
    assert (await limited.read(driver, project))[Resource.IMAGES] == 2
    limited.now += 1
    with pytest.raises(LimitsUnknown):
        driver.limits_of(account(project))
    assert (await limited.read(driver, project))[Resource.IMAGES] == 5


async def test_a_catalog_keeps_a_project_within_them(limited: Limited, tmp_path: Path) -> None:
    """However many ask at once; the limit is read in the middle of their changes."""
    project = limited.keystone.create_project()
    limited.set(project, Resource.IMAGES, 2)
    async with opened(tmp_path / "catalog.db") as catalog:
        catalog.limits = limited.driver()

        async def create(number: int) -> bool:
            try:
                await catalog.add_image(queued(f"i{number}", project))
            except QuotaExceeded as refused:
                assert "limit 'images' of 2" in str(refused)  # noqa: PT017 - the others succeed
                return False
            return True

        made = await asyncio.gather(*[create(number) for number in range(12)])

    assert sum(made) == 2


async def test_doctor_reads_them(limited: Limited, tmp_path: Path) -> None:
    """Also where Keystone does not sign callers in: the right to check tokens is not looked for."""
    sections = limited.keystone.imaged_settings(tmp_path)
    text = "\n".join(
        f"[{name}]\n" + "\n".join(f"{key} = {value!r}" for key, value in keys.items())
        for name, keys in sections.items()
    )
    both = config_of(tmp_path, f'{text}\n[quotas]\nsource = "keystone"\n')
    without = replace(both, auth=both.auth.model_copy(update={"method": "none"}))
    found = [finding async for finding in check_keystone(both)]
    of_limits = [finding async for finding in check_keystone(without)]

    assert [one.level for one in found] == [Level.OK] * 4
    assert found[-1].what == "It tells imaged the limits of projects."
    assert [one.what for one in of_limits][1:] == [found[2].what, found[3].what]


async def test_keystone_away(limited: Limited) -> None:
    """The last known limits hold, for an unknown project those registered for all, and without any
    answer so far the defaults; then it is back.
    """
    project, unknown = (limited.keystone.create_project() for _ in range(2))
    limit = limited.set(project, Resource.IMAGES, 2)
    driver, fresh = limited.driver(), limited.driver()
    await limited.read(driver, project)
    limited.change(limit, 5)

    limited.keystone.kill()
    limited.now += CACHE_SECONDS
    assert (await limited.read(driver, project))[Resource.IMAGES] == 2
    assert (await limited.read(driver, unknown))[Resource.IMAGES] == 7
    assert await limited.read(fresh, project) == DEFAULTS
    assert "Keystone" in str(fresh.failure)

    limited.keystone.start()
    assert (await limited.read(driver, project))[Resource.IMAGES] == 2
    limited.now += RETRY_SECONDS
    assert (await limited.read(driver, project))[Resource.IMAGES] == 5
    assert driver.failure is None
