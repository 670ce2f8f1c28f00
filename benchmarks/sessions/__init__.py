"""What a session is worth: its next turn after a flood of other traffic, against the same turn without a session."""
