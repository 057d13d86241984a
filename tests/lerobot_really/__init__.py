"""pushcut against LeRobot itself, which lives in an environment of its own."""
