"""Parts of the fault campaign (``studies/faults.py``)."""
