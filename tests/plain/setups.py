"""All set-ups, by name."""

from __future__ import annotations

import setups_data
import setups_hooks
import setups_losses
import setups_nets
import setups_optimizers
import setups_state
import setups_strangers
from plain_setup import Setup

TABLES: dict[str, dict[str, Setup]] = {
    "net": setups_nets.SETUPS,
    "loss": setups_losses.SETUPS,
    "optimizer": setups_optimizers.SETUPS,
    "hooks": setups_hooks.SETUPS,
    "data": setups_data.SETUPS,
    "state": setups_state.SETUPS,
    "stranger": setups_strangers.SETUPS,
}
SETUPS: dict[str, Setup] = {
    f"{kind}: {name}": setup for kind, table in TABLES.items() for name, setup in table.items()
}
