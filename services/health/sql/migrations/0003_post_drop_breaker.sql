-- Nobody reads them any more: see 0002_pre_circuits.sql.
DROP TABLE breaker_probe;
DROP TABLE breaker;
