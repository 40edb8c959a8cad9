BEGIN TRANSACTION;
CREATE TABLE accounts (
	owner VARCHAR NOT NULL,
	used_bytes BIGINT NOT NULL,
	limit_bytes BIGINT,
	PRIMARY KEY (owner),
	CONSTRAINT used_possible CHECK (used_bytes >= 0),
	CONSTRAINT limit_possible CHECK (limit_bytes IS NULL OR limit_bytes >= 0)
);
INSERT INTO "accounts" VALUES('p1',100,1000);
CREATE TABLE alembic_version (
	version_num VARCHAR(32) NOT NULL,
	CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num)
);
INSERT INTO "alembic_version" VALUES('0003');
CREATE TABLE blobs (
	"key" VARCHAR NOT NULL,
	store VARCHAR NOT NULL,
	size_bytes BIGINT NOT NULL,
	state VARCHAR NOT NULL,
	holders INTEGER NOT NULL,
	due_at BIGINT,
	awaited_by VARCHAR,
	failures INTEGER NOT NULL,
	last_error VARCHAR, upload_id VARCHAR, is_unfinished BOOLEAN DEFAULT 0 NOT NULL, is_swept BOOLEAN DEFAULT 0 NOT NULL,
	PRIMARY KEY ("key"),
	CONSTRAINT state_known CHECK (state IN ('writing', 'kept', 'doomed')),
	CONSTRAINT size_possible CHECK (size_bytes >= 0),
	CONSTRAINT doomed_unheld CHECK (holders >= 0 AND (state = 'doomed') = (holders = 0)),
	CONSTRAINT doomed_due CHECK ((state = 'doomed') = (due_at IS NOT NULL)),
	CONSTRAINT awaited_when_doomed CHECK (awaited_by IS NULL OR state = 'doomed'),
	FOREIGN KEY(awaited_by) REFERENCES images (id)
);
INSERT INTO "blobs" VALUES('active/1','local',10,'kept',2,NULL,NULL,0,NULL,NULL,0,0);
INSERT INTO "blobs" VALUES('deactivated/1','local',10,'kept',1,NULL,NULL,0,NULL,NULL,0,0);
INSERT INTO "blobs" VALUES('restorable/1','local',10,'kept',1,NULL,NULL,0,NULL,NULL,0,0);
INSERT INTO "blobs" VALUES('expired/1','local',10,'doomed',0,1732833234521408,'expired',1,'the disk is away',NULL,0,0);
INSERT INTO "blobs" VALUES('damaged/1','local',10,'kept',1,NULL,NULL,0,NULL,NULL,0,0);
INSERT INTO "blobs" VALUES('saving/1','local',30,'writing',1,NULL,NULL,0,NULL,'upload-1',0,0);
INSERT INTO "blobs" VALUES('failed/1','local',30,'doomed',0,1732833284658476,NULL,0,NULL,NULL,1,0);
INSERT INTO "blobs" VALUES('staged/1','local',10,'kept',1,NULL,NULL,0,NULL,NULL,0,0);
INSERT INTO "blobs" VALUES('importing/1','local',10,'kept',1,NULL,NULL,0,NULL,NULL,0,0);
INSERT INTO "blobs" VALUES('stray','local',7,'doomed',0,1732836824838334,NULL,0,NULL,NULL,1,0);
CREATE TABLE claims (
	token CHAR(32) NOT NULL,
	image_id VARCHAR NOT NULL,
	holder VARCHAR NOT NULL,
	lease BIGINT NOT NULL,
	until BIGINT NOT NULL,
	PRIMARY KEY (token),
	CONSTRAINT lease_possible CHECK (lease >= 0),
	UNIQUE (image_id),
	FOREIGN KEY(image_id) REFERENCES images (id)
);
INSERT INTO "claims" VALUES('00000000000000000000000000000006','saving','node-1',3153600000000000,4949591624614156);
CREATE TABLE compatibility (
	oldest VARCHAR NOT NULL,
	PRIMARY KEY (oldest)
);
INSERT INTO "compatibility" VALUES('0001');
CREATE TABLE image_locations (
	image_id VARCHAR NOT NULL,
	"key" VARCHAR NOT NULL,
	position INTEGER NOT NULL,
	PRIMARY KEY (image_id, "key"),
	CONSTRAINT position_possible CHECK (position >= -1),
	FOREIGN KEY(image_id) REFERENCES images (id),
	FOREIGN KEY("key") REFERENCES blobs ("key")
)
 WITHOUT ROWID

;
INSERT INTO "image_locations" VALUES('active','active/1',0);
INSERT INTO "image_locations" VALUES('clone','active/1',0);
INSERT INTO "image_locations" VALUES('damaged','damaged/1',0);
INSERT INTO "image_locations" VALUES('deactivated','deactivated/1',0);
INSERT INTO "image_locations" VALUES('expired','expired/1',0);
INSERT INTO "image_locations" VALUES('importing','importing/1',-1);
INSERT INTO "image_locations" VALUES('restorable','restorable/1',0);
INSERT INTO "image_locations" VALUES('saving','saving/1',0);
INSERT INTO "image_locations" VALUES('staged','staged/1',-1);
CREATE TABLE image_properties (
	image_id VARCHAR NOT NULL,
	name VARCHAR NOT NULL,
	value VARCHAR NOT NULL,
	PRIMARY KEY (image_id, name),
	FOREIGN KEY(image_id) REFERENCES images (id) ON DELETE CASCADE
);
INSERT INTO "image_properties" VALUES('queued','empty','');
INSERT INTO "image_properties" VALUES('queued','os_distro','debian');
INSERT INTO "image_properties" VALUES('active','p','v');
CREATE TABLE image_tags (
	image_id VARCHAR NOT NULL,
	tag VARCHAR NOT NULL,
	PRIMARY KEY (image_id, tag),
	FOREIGN KEY(image_id) REFERENCES images (id) ON DELETE CASCADE
)
 WITHOUT ROWID

;
INSERT INTO "image_tags" VALUES('active','a');
INSERT INTO "image_tags" VALUES('queued','t1');
INSERT INTO "image_tags" VALUES('queued','ü');
CREATE TABLE images (
	id VARCHAR NOT NULL,
	owner VARCHAR NOT NULL,
	name VARCHAR,
	disk_format VARCHAR,
	container_format VARCHAR,
	visibility VARCHAR NOT NULL,
	protected BOOLEAN NOT NULL,
	hidden BOOLEAN NOT NULL,
	min_ram_mib BIGINT NOT NULL,
	min_disk_gib BIGINT NOT NULL,
	tags JSON NOT NULL,
	properties JSON NOT NULL,
	status VARCHAR NOT NULL,
	since BIGINT NOT NULL,
	deleted_from VARCHAR,
	created_at BIGINT NOT NULL,
	updated_at BIGINT NOT NULL,
	version BIGINT NOT NULL,
	size_bytes BIGINT,
	checksum VARCHAR,
	hash_algorithm VARCHAR,
	hash_value VARCHAR,
	virtual_size_bytes BIGINT,
	finished_by CHAR(32),
	failure_phase VARCHAR,
	failure_reason VARCHAR,
	failure_at BIGINT, draft BOOLEAN DEFAULT 0 NOT NULL, damage VARCHAR,
	PRIMARY KEY (id),
	CONSTRAINT status_known CHECK (status IN ('queued', 'saving', 'uploading', 'importing', 'active', 'deactivated', 'killed', 'pending_delete', 'deleted')),
	CONSTRAINT visibility_known CHECK (visibility IN ('private', 'shared', 'community', 'public')),
	CONSTRAINT restorable_while_waiting CHECK (deleted_from IS NULL OR (status = 'pending_delete' AND deleted_from IN ('active', 'deactivated'))),
	CONSTRAINT complete_when_active CHECK (size_bytes IS NOT NULL OR status NOT IN ('active', 'deactivated', 'pending_delete')),
	CONSTRAINT empty_until_active CHECK (size_bytes IS NULL OR status NOT IN ('queued', 'saving', 'uploading', 'importing', 'killed')),
	CONSTRAINT content_whole CHECK ((size_bytes IS NULL) = (checksum IS NULL) AND (size_bytes IS NULL) = (hash_algorithm IS NULL) AND (size_bytes IS NULL) = (hash_value IS NULL) AND (size_bytes IS NOT NULL OR virtual_size_bytes IS NULL)),
	CONSTRAINT failure_whole CHECK ((failure_phase IS NULL) = (failure_reason IS NULL) AND (failure_phase IS NOT NULL OR failure_at IS NULL))
);
INSERT INTO "images" VALUES('queued','p1','größe ''x''','raw','bare','community',1,1,512,2,'["t1","ü"]','{"os_distro":"debian","empty":""}','queued',1732833224058802,NULL,1732833224058802,1732833224058802,0,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,0,NULL);
INSERT INTO "images" VALUES('active','p1','debian','raw','bare','public',0,0,0,0,'["a"]','{"p":"v"}','active',1732833224226589,NULL,1732833224126119,1732833224251233,3,10,'md5 of them','sha512','sha512 of them',20,'00000000000000000000000000000001',NULL,NULL,NULL,0,NULL);
INSERT INTO "images" VALUES('clone','p1',NULL,'raw','bare','shared',0,0,0,0,'[]','{}','active',1732833224321216,NULL,1732833224311408,1732833224321216,1,10,'md5 of them','sha512','sha512 of them',20,NULL,NULL,NULL,NULL,0,NULL);
INSERT INTO "images" VALUES('deactivated','p1',NULL,'raw','bare','shared',0,0,0,0,'[]','{}','deactivated',1732833224401708,NULL,1732833224330465,1732833224401708,3,10,'md5 of them','sha512','sha512 of them',20,'00000000000000000000000000000002',NULL,NULL,NULL,0,NULL);
INSERT INTO "images" VALUES('restorable','p1',NULL,'raw','bare','shared',0,0,0,0,'[]','{}','pending_delete',1732833224434497,'active',1732833224411467,1732833224434497,3,10,'md5 of them','sha512','sha512 of them',20,'00000000000000000000000000000003',NULL,NULL,NULL,0,NULL);
INSERT INTO "images" VALUES('expired','p1',NULL,'raw','bare','shared',0,0,0,0,'[]','{}','pending_delete',1732833224505348,NULL,1732833224453203,1732833224508987,4,10,'md5 of them','sha512','sha512 of them',20,'00000000000000000000000000000004',NULL,NULL,NULL,0,NULL);
INSERT INTO "images" VALUES('damaged','p1',NULL,'raw','bare','shared',0,0,0,0,'[]','{}','active',1732833224573896,NULL,1732833224530958,1732833224593839,3,10,'md5 of them','sha512','sha512 of them',20,'00000000000000000000000000000005',NULL,NULL,NULL,0,'sha512 is another one');
INSERT INTO "images" VALUES('saving','p1',NULL,'raw','bare','shared',0,0,0,0,'[]','{}','saving',1732833224614156,NULL,1732833224600435,1732833224614156,1,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,0,NULL);
INSERT INTO "images" VALUES('failed','p1',NULL,'raw','bare','shared',0,0,0,0,'[]','{}','queued',1732833224658476,NULL,1732833224637294,1732833224658476,2,NULL,NULL,NULL,NULL,NULL,NULL,'upload','The server that was working on it went silent.',1732833224658476,0,NULL);
INSERT INTO "images" VALUES('staged','p1',NULL,'raw','bare','shared',0,0,0,0,'[]','{}','uploading',1732833224693266,NULL,1732833224690199,1732833224713374,2,NULL,NULL,NULL,NULL,NULL,'00000000000000000000000000000008',NULL,NULL,NULL,0,NULL);
INSERT INTO "images" VALUES('importing','p1',NULL,'raw','bare','shared',0,0,0,0,'[]','{}','importing',1732833224747708,NULL,1732833224717458,1732833224747708,3,NULL,NULL,NULL,NULL,NULL,'00000000000000000000000000000009',NULL,NULL,NULL,0,NULL);
INSERT INTO "images" VALUES('deleted','p1',NULL,'raw','bare','shared',0,0,0,0,'[]','{}','deleted',1732833224796842,NULL,1732833224790609,1732833224796842,1,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,0,NULL);
INSERT INTO "images" VALUES('draft','p1',NULL,'raw','bare','shared',0,0,0,0,'[]','{}','importing',1732833224836874,NULL,1732833224836874,1732833224836874,0,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,1,NULL);
CREATE TABLE instances (
	id VARCHAR NOT NULL,
	version VARCHAR NOT NULL,
	roles JSON NOT NULL,
	started_at BIGINT NOT NULL,
	seen_at BIGINT NOT NULL,
	PRIMARY KEY (id)
);
INSERT INTO "instances" VALUES('node-1','0.1.0','["api","scrubber"]',1732833224002954,1732833224002954);
CREATE TABLE task_records (
	id VARCHAR NOT NULL,
	type VARCHAR NOT NULL,
	owner VARCHAR NOT NULL,
	user_id VARCHAR NOT NULL,
	roles JSON NOT NULL,
	request_id VARCHAR,
	input JSON NOT NULL,
	sealed BLOB,
	image_id VARCHAR,
	writes VARCHAR,
	status VARCHAR NOT NULL,
	attempts INTEGER NOT NULL,
	max_attempts INTEGER NOT NULL,
	phase VARCHAR,
	done_bytes BIGINT,
	total_bytes BIGINT,
	result JSON,
	message VARCHAR,
	keep_for BIGINT NOT NULL,
	expires_at BIGINT,
	created_at BIGINT NOT NULL,
	updated_at BIGINT NOT NULL,
	begun_at BIGINT,
	token CHAR(32),
	holder VARCHAR,
	lease BIGINT,
	until BIGINT,
	finished_by CHAR(32),
	PRIMARY KEY (id),
	CONSTRAINT status_known CHECK (status IN ('pending', 'processing', 'success', 'failure')),
	CONSTRAINT attempts_limited CHECK (attempts >= 0 AND attempts <= max_attempts),
	CONSTRAINT failure_explained CHECK ((status = 'failure') = (message IS NOT NULL)),
	CONSTRAINT success_answered CHECK ((status = 'success') = (result IS NOT NULL)),
	CONSTRAINT final_expires CHECK ((status IN ('success', 'failure')) = (expires_at IS NOT NULL)),
	CONSTRAINT final_without_secrets CHECK (expires_at IS NULL OR sealed IS NULL),
	CONSTRAINT claimed_while_processing CHECK ((token IS NOT NULL) = (status = 'processing' AND writes IS NULL) AND (token IS NULL) = (holder IS NULL) AND (token IS NULL) = (lease IS NULL) AND (token IS NULL) = (until IS NULL))
);
INSERT INTO "task_records" VALUES('import','api_image_import','p1','u1','["member"]',NULL,'{"method":{"name":"glance-direct"}}',NULL,'importing','importing','pending',0,3,NULL,NULL,NULL,NULL,NULL,172800000000,NULL,1732833224747708,1732833224747708,NULL,NULL,NULL,NULL,NULL,NULL);
INSERT INTO "task_records" VALUES('pending','verify','p1','u1','["member","reader"]','req-1','{"image_id":"active"}',X'00736563726574FF','active',NULL,'pending',0,3,NULL,NULL,NULL,NULL,NULL,172800000000,NULL,1732833224806225,1732833224806225,NULL,NULL,NULL,NULL,NULL,NULL);
INSERT INTO "task_records" VALUES('running','verify','p1','','[]',NULL,'{}',NULL,'active',NULL,'processing',1,3,'reading',5,10,NULL,NULL,172800000000,NULL,1732833224807790,1732833224819028,1732833224814053,'0000000000000000000000000000000a','node-1',3153600000000000,4949591624814053,NULL);
INSERT INTO "task_records" VALUES('succeeded','verify','p1','','[]',NULL,'{}',NULL,NULL,NULL,'success',1,3,NULL,NULL,NULL,'{"is_good":true,"text":"größe"}',NULL,3153600000000000,4949591624829544,1732833224822482,1732833224829544,1732833224825983,NULL,NULL,NULL,NULL,'0000000000000000000000000000000b');
INSERT INTO "task_records" VALUES('cancelled','export','p2','','[]',NULL,'{"to":"archive"}',NULL,NULL,NULL,'failure',0,3,NULL,NULL,NULL,NULL,'It was cancelled.',3153600000000000,4949591624834938,1732833224831167,1732833224834938,NULL,NULL,NULL,NULL,NULL,NULL);
INSERT INTO "task_records" VALUES('clones','clone','p1','','[]',NULL,'{"source_image_url":"http://x/"}',NULL,NULL,'draft','pending',0,3,NULL,NULL,NULL,NULL,NULL,172800000000,NULL,1732833224836874,1732833224836874,NULL,NULL,NULL,NULL,NULL,NULL);
CREATE TABLE tasks (
	id VARCHAR NOT NULL,
	image_id VARCHAR NOT NULL,
	status VARCHAR NOT NULL,
	attempts INTEGER NOT NULL,
	max_attempts INTEGER NOT NULL,
	message VARCHAR,
	PRIMARY KEY (id),
	CONSTRAINT status_known CHECK (status IN ('pending', 'processing', 'success', 'failure')),
	CONSTRAINT attempts_limited CHECK (attempts >= 0 AND attempts <= max_attempts),
	CONSTRAINT failure_explained CHECK ((status = 'failure') = (message IS NOT NULL)),
	UNIQUE (image_id),
	FOREIGN KEY(image_id) REFERENCES images (id) ON DELETE CASCADE
);
CREATE TABLE tombstones (
	id VARCHAR NOT NULL,
	PRIMARY KEY (id)
);
INSERT INTO "tombstones" VALUES('buried');
CREATE INDEX images_created ON images (created_at, id);
CREATE INDEX images_status ON images (status, created_at, id);
CREATE INDEX images_restorable ON images (since, id) WHERE deleted_from IS NOT NULL;
CREATE INDEX images_owner ON images (owner, created_at, id);
CREATE INDEX images_visibility ON images (visibility, created_at, id);
CREATE INDEX images_since ON images (status, since, id);
CREATE INDEX images_name ON images (name, id);
CREATE INDEX image_tags_tag ON image_tags (tag, image_id);
CREATE INDEX image_properties_value ON image_properties (name, substr(value, 1, 64), image_id);
CREATE INDEX blobs_awaited_by ON blobs (awaited_by) WHERE awaited_by IS NOT NULL;
CREATE INDEX blobs_due ON blobs (due_at, "key") WHERE due_at IS NOT NULL;
CREATE INDEX blobs_store ON blobs (store, "key");
CREATE INDEX image_locations_key ON image_locations ("key");
CREATE INDEX tasks_pending ON tasks (image_id) WHERE status = 'pending';
CREATE INDEX claims_until ON claims (until);
CREATE INDEX blobs_stock ON blobs (store, state, size_bytes, failures);
CREATE INDEX images_damaged ON images (status) WHERE damage IS NOT NULL;
CREATE UNIQUE INDEX task_records_writing ON task_records (writes) WHERE expires_at IS NULL;
CREATE INDEX task_records_waiting ON task_records (status, owner, created_at, id) WHERE expires_at IS NULL;
CREATE INDEX task_records_begun ON task_records (owner, begun_at) WHERE begun_at IS NOT NULL;
CREATE INDEX task_records_expiring ON task_records (expires_at, id) WHERE expires_at IS NOT NULL;
CREATE INDEX task_records_token ON task_records (token) WHERE token IS NOT NULL;
CREATE INDEX task_records_until ON task_records (until) WHERE until IS NOT NULL;
CREATE INDEX task_records_created ON task_records (created_at, id);
CREATE INDEX task_records_owner ON task_records (owner, created_at, id);
CREATE INDEX task_records_image ON task_records (image_id, created_at, id);
CREATE INDEX task_records_written ON task_records (writes, created_at, id);
CREATE INDEX task_records_status ON task_records (status, type, created_at);
COMMIT;
