"""Places for requests in progress, whose number is limited."""


class Places:
    """Limits the number of requests that are answered at a time."""

    __slots__ = ("free",)

    def __init__(self, free: int) -> None:
        self.free = free

    def take(self) -> bool:
        """Take a place. Returns whether there was one."""
        taken = self.free > 0
        self.free -= taken
        return taken
