"""The object by which the bridge asks whether a destination takes data: it is taken, and changes nothing."""

from __future__ import annotations

import json
import time

from loyalty_bridge.platforms.braze import mapping as braze
from loyalty_bridge.platforms.moengage import mapping as moengage
from simulators import braze_workspace, moengage_rules, moengage_workspace


def test_braze_takes_it_and_creates_no_user() -> None:
    workspace = braze_workspace.Workspace("key", braze_workspace.Settings())

    status, said = workspace.track(json.loads(braze.body([braze.harmless()])), time.time())

    assert (status, said) == (201, {"message": "success", "attributes_processed": 1})
    assert (workspace.profiles, workspace.attributes, workspace.silently_dropped) == ({}, [], [])


def test_moengage_takes_it_and_creates_no_user() -> None:
    workspace = moengage_workspace.Workspace("id", "key", moengage_rules.Settings())
    sent = [moengage.harmless()]

    taken = workspace.receive(moengage.path(sent), json.loads(moengage.body(sent)), time.time())

    assert (taken, workspace.users, workspace.updates, workspace.silently_dropped) == (1, [], [], [])
