"""The control that runs the task's own solution."""

from __future__ import annotations

from bakeoff.agents.base import AgentClaim, AgentContext, Needs
from bakeoff.agents.request import check_no_command, check_options, digest_of
from bakeoff.errors import Unsupported
from bakeoff.files.tree import checked_bytes, tar_of
from bakeoff.records.job import AgentRequest
from bakeoff.sandboxes.base import tar_bytes
from bakeoff.sandboxes.logged import describe_exit, run_logged
from bakeoff.tasks.model import SOLUTION_DIR

SCRIPT = "solve.sh"


class OracleAgent:
    """Runs the task's own solution; a control that every task must pass."""

    name = "oracle"
    version = "1"
    digest = digest_of("oracle", "1")
    command = f"{SOLUTION_DIR}/{SCRIPT}"
    needs = Needs(solution=True)

    @classmethod
    def create(cls, request: AgentRequest) -> OracleAgent:
        check_options(request)
        check_no_command(request)
        return cls()

    async def run(self, context: AgentContext) -> AgentClaim:
        """Lay the solution at ``/solution`` and run it by its own first line, or by ``sh`` where it has none."""
        solution = context.solution
        script = next((file for file in solution.files if file.path == SCRIPT), None) if solution else None
        if solution is None or script is None:
            raise Unsupported(f"the task has no {SCRIPT}, so the {self.name} cannot run it")
        await context.sandbox.put(tar_bytes(tar_of(solution.files, executable=(SCRIPT,))), SOLUTION_DIR, fresh=True)
        by_itself = checked_bytes(script).startswith(b"#!")
        process = await context.sandbox.start(
            [self.command] if by_itself else ["/bin/sh", self.command],
            env={**context.env, **solution.env},
            cwd=context.workdir,
            user=context.user,
        )
        logged = await run_logged(
            process, stdout=context.logs / "stdout", stderr=context.logs / "stderr", limit=context.output_limit
        )
        error = "" if logged.exit.code == 0 else describe_exit(logged.exit)
        return AgentClaim(exit=logged.exit, error=error, truncated=logged.truncated)
