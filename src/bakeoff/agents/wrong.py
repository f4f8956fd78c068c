"""The control that runs one of the task's wrong solutions."""

from __future__ import annotations

from bakeoff.agents.base import Needs
from bakeoff.agents.oracle import OracleAgent
from bakeoff.agents.request import check_no_command, check_options, digest_of
from bakeoff.errors import InputError
from bakeoff.records.job import AgentRequest

OPTION = "solution"


class WrongAgent(OracleAgent):
    """Runs a wrong solution of the task, named with --agent-option solution=NAME; a control that every task must fail."""

    name = "wrong"

    def __init__(self, solution: str) -> None:
        self.digest = digest_of(self.name, self.version, solution)
        self.needs = Needs(solution=True, wrong=solution)

    @classmethod
    def create(cls, request: AgentRequest) -> WrongAgent:
        check_options(request, (OPTION,))
        check_no_command(request)
        solution = request.options.get(OPTION, "")
        if not solution:
            raise InputError(
                "which wrong solution?",
                where="--agent-option",
                field=OPTION,
                wanted=f"{OPTION}=NAME, a folder of wrong/",
            )
        return cls(solution)
