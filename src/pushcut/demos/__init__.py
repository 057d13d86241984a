"""Demonstrations: collected from scripted experts, stored in the LeRobot v3.0 layout."""
