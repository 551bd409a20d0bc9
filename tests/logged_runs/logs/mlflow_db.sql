CREATE TABLE "metrics" (
	"key" VARCHAR(250) NOT NULL, 
	value FLOAT NOT NULL, 
	timestamp BIGINT NOT NULL, 
	run_uuid VARCHAR(32) NOT NULL, 
	step BIGINT DEFAULT '0' NOT NULL, 
	is_nan BOOLEAN DEFAULT '0' NOT NULL, 
	CONSTRAINT metric_pk PRIMARY KEY ("key", timestamp, step, run_uuid, value, is_nan), 
	FOREIGN KEY(run_uuid) REFERENCES runs (run_uuid), 
	CHECK (is_nan IN (0, 1))
);
INSERT INTO "metrics" VALUES('eval/accuracy',0.51,1795764425975,'7a6177630ece4782a1e617a65b2fcced',10,0);
INSERT INTO "metrics" VALUES('eval/accuracy',0.52,1795764425998,'7a6177630ece4782a1e617a65b2fcced',20,0);
INSERT INTO "metrics" VALUES('eval/accuracy',0.52,1795764426069,'95e387e4a3cb4f4ca61178b06f60ce76',10,0);
INSERT INTO "metrics" VALUES('eval/accuracy',0.53,1795764426082,'95e387e4a3cb4f4ca61178b06f60ce76',20,0);
INSERT INTO "metrics" VALUES('eval/accuracy',0.53,1795764426193,'ad31a138c32a4388b05214852b2938c6',10,0);
INSERT INTO "metrics" VALUES('eval/accuracy',0.54,1795764426226,'ad31a138c32a4388b05214852b2938c6',20,0);
CREATE TABLE "params" (
	"key" VARCHAR(250) NOT NULL, 
	value VARCHAR(8000) NOT NULL, 
	run_uuid VARCHAR(32) NOT NULL, 
	CONSTRAINT param_pk PRIMARY KEY ("key", run_uuid), 
	FOREIGN KEY(run_uuid) REFERENCES runs (run_uuid)
);
INSERT INTO "params" VALUES('seed','0','7a6177630ece4782a1e617a65b2fcced');
INSERT INTO "params" VALUES('seed','1','95e387e4a3cb4f4ca61178b06f60ce76');
INSERT INTO "params" VALUES('seed','2','ad31a138c32a4388b05214852b2938c6');
CREATE TABLE "runs" (
	run_uuid VARCHAR(32) NOT NULL, 
	name VARCHAR(250), 
	source_type VARCHAR(20), 
	source_name VARCHAR(500), 
	entry_point_name VARCHAR(50), 
	user_id VARCHAR(256), 
	status VARCHAR(9), 
	start_time BIGINT, 
	end_time BIGINT, 
	source_version VARCHAR(50), 
	lifecycle_stage VARCHAR(20), 
	artifact_uri VARCHAR(200), 
	experiment_id INTEGER, deleted_time BIGINT, 
	CONSTRAINT run_pk PRIMARY KEY (run_uuid), 
	CONSTRAINT source_type CHECK (source_type IN ('NOTEBOOK', 'JOB', 'LOCAL', 'UNKNOWN', 'PROJECT')), 
	CONSTRAINT runs_lifecycle_stage CHECK (lifecycle_stage IN ('active', 'deleted')), 
	FOREIGN KEY(experiment_id) REFERENCES experiments (experiment_id), 
	CHECK (status IN ('SCHEDULED', 'FAILED', 'FINISHED', 'RUNNING', 'KILLED'))
);
INSERT INTO "runs" VALUES('7a6177630ece4782a1e617a65b2fcced','a-0','UNKNOWN','','','root','FINISHED',1795764425920,1795764426012,'','active','/tmp/tmp7wgzw1ig/mlruns/1/7a6177630ece4782a1e617a65b2fcced/artifacts',1,NULL);
INSERT INTO "runs" VALUES('95e387e4a3cb4f4ca61178b06f60ce76','a-1','UNKNOWN','','','root','FINISHED',1795764426034,1795764426113,'','active','/tmp/tmp7wgzw1ig/mlruns/1/95e387e4a3cb4f4ca61178b06f60ce76/artifacts',1,NULL);
INSERT INTO "runs" VALUES('ad31a138c32a4388b05214852b2938c6','a-2','UNKNOWN','','','root','FINISHED',1795764426143,1795764426250,'','deleted','/tmp/tmp7wgzw1ig/mlruns/1/ad31a138c32a4388b05214852b2938c6/artifacts',1,1795764426276);
