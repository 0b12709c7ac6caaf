-- Nobody reads them any more: see 0002_pre_circuits.sql.
DROP TABLE IF EXISTS breaker_probe;
DROP TABLE IF EXISTS breaker;
