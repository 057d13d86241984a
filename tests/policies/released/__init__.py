from tests.policies.released.folders import write_lerobot, write_openpi, write_openvla

__all__ = ["write_lerobot", "write_openpi", "write_openvla"]
