"""All platforms by name. A new platform is one line here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from loyalty_bridge.platforms.braze import mapping as braze
from loyalty_bridge.platforms.brevo import events as brevo
from loyalty_bridge.platforms.convercus import events as convercus
from loyalty_bridge.platforms.moengage import mapping as moengage
from loyalty_bridge.platforms.punchh import events as punchh

if TYPE_CHECKING:
    from loyalty_bridge.platforms.base import EngagementPlatform, LoyaltyPlatform

LOYALTY: Mapping[str, LoyaltyPlatform] = {"convercus": convercus, "punchh": punchh, "brevo": brevo}
ENGAGEMENT: Mapping[str, EngagementPlatform] = {"braze": braze, "moengage": moengage}
