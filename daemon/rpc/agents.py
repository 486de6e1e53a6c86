"""AgentService: automations with certificates of their own."""

from daemon.calls.tell import receipt
from daemon.identity.agents import KnownAgent
from daemon.identity.authorities import Authorities
from daemon.identity.devices import Devices
from daemon.identity.enrolment import Enrolment, unknown_agent
from daemon.permission import Permission
from daemon.principal import Principal, current_principal
from daemon.rpc.convert import agent_to_proto
from daemon.rpc.faults import Context
from policy.values import EntityUid
from stockade.v1 import agent_pb2, agent_pb2_grpc


class AgentService(agent_pb2_grpc.AgentServiceServicer):
    """See proto/stockade/v1/agent.proto."""

    def __init__(
        self,
        devices: Devices,
        enrolment: Enrolment,
        permission: Permission,
        authorities: Authorities,
    ) -> None:
        self._devices = devices
        self._enrolment = enrolment
        self._permission = permission
        self._authorities = authorities

    async def EnrollAgent(
        self, request: agent_pb2.EnrollAgentRequest, context: Context
    ) -> agent_pb2.EnrollAgentResponse:
        principal = current_principal()
        enrolled = await self._enrolment.enroll(
            request.name,
            request.manifest,
            request.certificate_request,
            principal.device_id,
            str(principal),
        )
        return agent_pb2.EnrollAgentResponse(
            agent=agent_to_proto(enrolled.agent, principal.device_name),
            certificate=enrolled.issued.pem,
            authority=self._authorities.bundle,
            replaces=enrolled.replaces,
            receipt=receipt(enrolled.entry),
        )

    async def ListAgents(
        self, request: agent_pb2.ListAgentsRequest, context: Context
    ) -> agent_pb2.ListAgentsResponse:
        principal = current_principal()
        sees_all = self._permission.ask(principal, "list_agents").allowed
        names = {str(device.row.device_id): device.row.name for device in self._devices.all}
        return agent_pb2.ListAgentsResponse(
            agents=[
                agent_to_proto(
                    agent,
                    names.get(str(agent.row.device_id), ""),
                    suspended=f"agent/{agent.row.agent_id}" in self._devices.suspended,
                )
                for agent in self._devices.agents.all
                if sees_all or _own(principal, agent)
            ]
        )

    async def RevokeAgent(
        self, request: agent_pb2.RevokeAgentRequest, context: Context
    ) -> agent_pb2.RevokeAgentResponse:
        principal, known = current_principal(), self._devices.agents.get(request.agent_id)
        if known is None or not known.active:
            # Policy cannot be asked about an agent that is not there, so about being told so.
            self._permission.require(principal, "enroll_agent")
            raise unknown_agent(request.agent_id)
        agent = EntityUid("Agent", str(known.row.agent_id))
        self._permission.require(principal, "revoke_agent", agent)
        entry = await self._enrolment.revoke(request.agent_id, str(principal))
        return agent_pb2.RevokeAgentResponse(receipt=receipt(entry))


def _own(principal: Principal, agent: KnownAgent) -> bool:
    if principal.agent is not None:
        return principal.agent.agent_id == agent.row.agent_id
    return principal.device_id == agent.row.device_id
