"""What recorded exchanges say, in forms that other tools read: ATIF trajectories and OpenTelemetry spans."""
