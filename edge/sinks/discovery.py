"""How Home Assistant learns of a bin: MQTT discovery."""

from __future__ import annotations

import msgspec

from edge import __version__
from edge.event import DEPOSIT


def announcement(prefix: str, bin_id: str) -> tuple[str, bytes]:
    """Return topic and payload that make the newest deposit of a bin a sensor."""
    base = f"{prefix}/{bin_id}"
    only_deposits = "{% if value_json.type == '" + DEPOSIT + "' %}"
    config = {
        "name": "Deposit",
        "unique_id": f"binsight_{bin_id}_deposit",
        "state_topic": f"{base}/events",
        "value_template": only_deposits + "{{ value_json.data.label }}{% else %}{{ this.state }}{% endif %}",
        "json_attributes_topic": f"{base}/events",
        "json_attributes_template": only_deposits + "{{ value_json.data | tojson }}{% else %}{}{% endif %}",
        "availability_topic": f"{base}/available",
        "icon": "mdi:trash-can-outline",
        "device": {"identifiers": [f"binsight_{bin_id}"], "name": f"Bin {bin_id}", "sw_version": __version__},
        "origin": {"name": "binsight", "sw_version": __version__},
    }
    node = "".join(char if char.isalnum() or char in "_-" else "_" for char in bin_id)
    return f"homeassistant/sensor/binsight_{node}/deposit/config", msgspec.json.encode(config)
