"""Starting a zygote with as many ids as this user can have."""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING, NamedTuple

from bakeoff.sandboxes import client
from bakeoff.sandboxes.zygote import wire

if TYPE_CHECKING:
    from bakeoff.sandboxes import subids
    from bakeoff.sandboxes.far import FarHands, Owning


class Started(NamedTuple):
    """A zygote and its first message; who works on files where that is not the harness; why there is one id alone, if so."""

    zygote: client.Zygote
    first: client.Reply
    hands: FarHands | None = None
    unpacking: Owning | None = None
    one_id: str = ""


async def start(config: wire.Message, lock: int) -> Started:
    """Start a zygote: as root with many ids of root's, else with subordinate ids, else with one."""
    if os.geteuid() == 0:
        started = Started(*await client.start({**config, "subordinate": None}, lock))
        if started.first[0].get("ids") == 1:
            return started._replace(one_id="who runs it is root in a user namespace alone, not of the machine")
        return started
    from bakeoff.sandboxes import subids

    try:
        return await _with_subordinate(config, lock, subids.find())
    except subids.Refused as error:
        why = f"the ids of /etc/subuid and /etc/subgid cannot be used here ({error})"
    except subids.NoneHere as error:
        why = f"{error} (remedy, {subids.remedy()})"
    return Started(*await client.start({**config, "subordinate": None}, lock), one_id=why)


async def _with_subordinate(config: wire.Message, lock: int, wanted: subids.Subordinate) -> Started:
    """Raises Refused where the ids are."""
    from bakeoff.sandboxes import far, subids

    starting = asyncio.create_task(far.start(wanted, lock))
    zygote: client.Zygote | None = None
    try:
        zygote, first = await client.start({**config, "subordinate": wanted.request()}, lock)
        if first[0]["event"] == "unmapped":
            raise subids.Refused(str(first[0]["error"]))
        hands = await starting
        return Started(zygote, first, hands, far.Owning(wanted))
    except BaseException:
        starting.cancel()
        if zygote is not None:
            await zygote.close()
        (hands,) = await asyncio.gather(starting, return_exceptions=True)
        if isinstance(hands, far.FarHands):
            await hands.close()
        raise
