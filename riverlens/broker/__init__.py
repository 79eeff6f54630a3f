"""Apache Kafka itself on this machine: for the demo, the tests and trying things out.

`EmbeddedBroker` starts one or three real brokers in KRaft mode as child processes; `riverlens broker` is
the same from the command line. Needs Java 17 or later, and Maven once, to fetch Kafka's jars.
"""

from riverlens.broker.embedded import EmbeddedBroker
from riverlens.broker.security import BrokerSecurity

__all__ = ["BrokerSecurity", "EmbeddedBroker"]
