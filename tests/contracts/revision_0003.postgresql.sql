CREATE TABLE public.accounts (
    owner character varying NOT NULL COLLATE pg_catalog."C",
    used_bytes bigint NOT NULL,
    limit_bytes bigint,
    CONSTRAINT limit_possible CHECK (((limit_bytes IS NULL) OR (limit_bytes >= 0))),
    CONSTRAINT used_possible CHECK ((used_bytes >= 0))
);
CREATE TABLE public.alembic_version (
    version_num character varying(32) NOT NULL
);
CREATE TABLE public.blobs (
    key character varying NOT NULL COLLATE pg_catalog."C",
    store character varying NOT NULL COLLATE pg_catalog."C",
    size_bytes bigint NOT NULL,
    state character varying NOT NULL COLLATE pg_catalog."C",
    holders integer NOT NULL,
    due_at timestamp with time zone,
    awaited_by character varying COLLATE pg_catalog."C",
    failures integer NOT NULL,
    last_error character varying COLLATE pg_catalog."C",
    upload_id character varying COLLATE pg_catalog."C",
    is_unfinished boolean DEFAULT false NOT NULL,
    is_swept boolean DEFAULT false NOT NULL,
    CONSTRAINT awaited_when_doomed CHECK (((awaited_by IS NULL) OR ((state)::text = 'doomed'::text))),
    CONSTRAINT doomed_due CHECK ((((state)::text = 'doomed'::text) = (due_at IS NOT NULL))),
    CONSTRAINT doomed_unheld CHECK (((holders >= 0) AND (((state)::text = 'doomed'::text) = (holders = 0)))),
    CONSTRAINT size_possible CHECK ((size_bytes >= 0)),
    CONSTRAINT state_known CHECK (((state)::text = ANY ((ARRAY['writing'::character varying, 'kept'::character varying, 'doomed'::character varying])::text[])))
);
CREATE TABLE public.claims (
    token uuid NOT NULL,
    image_id character varying NOT NULL COLLATE pg_catalog."C",
    holder character varying NOT NULL COLLATE pg_catalog."C",
    lease bigint NOT NULL,
    until timestamp with time zone NOT NULL,
    CONSTRAINT lease_possible CHECK ((lease >= 0))
);
CREATE TABLE public.compatibility (
    oldest character varying NOT NULL COLLATE pg_catalog."C"
);
CREATE TABLE public.image_locations (
    image_id character varying NOT NULL COLLATE pg_catalog."C",
    key character varying NOT NULL COLLATE pg_catalog."C",
    "position" integer NOT NULL,
    CONSTRAINT position_possible CHECK (("position" >= '-1'::integer))
);
CREATE TABLE public.image_properties (
    image_id character varying NOT NULL COLLATE pg_catalog."C",
    name character varying NOT NULL COLLATE pg_catalog."C",
    value character varying NOT NULL COLLATE pg_catalog."C"
);
CREATE TABLE public.image_tags (
    image_id character varying NOT NULL COLLATE pg_catalog."C",
    tag character varying NOT NULL COLLATE pg_catalog."C"
);
CREATE TABLE public.images (
    id character varying NOT NULL COLLATE pg_catalog."C",
    owner character varying NOT NULL COLLATE pg_catalog."C",
    name character varying COLLATE pg_catalog."C",
    disk_format character varying COLLATE pg_catalog."C",
    container_format character varying COLLATE pg_catalog."C",
    visibility character varying NOT NULL COLLATE pg_catalog."C",
    protected boolean NOT NULL,
    hidden boolean NOT NULL,
    min_ram_mib bigint NOT NULL,
    min_disk_gib bigint NOT NULL,
    tags json NOT NULL,
    properties json NOT NULL,
    status character varying NOT NULL COLLATE pg_catalog."C",
    since timestamp with time zone NOT NULL,
    deleted_from character varying COLLATE pg_catalog."C",
    created_at timestamp with time zone NOT NULL,
    updated_at timestamp with time zone NOT NULL,
    version bigint NOT NULL,
    size_bytes bigint,
    checksum character varying COLLATE pg_catalog."C",
    hash_algorithm character varying COLLATE pg_catalog."C",
    hash_value character varying COLLATE pg_catalog."C",
    virtual_size_bytes bigint,
    finished_by uuid,
    failure_phase character varying COLLATE pg_catalog."C",
    failure_reason character varying COLLATE pg_catalog."C",
    failure_at timestamp with time zone,
    draft boolean DEFAULT false NOT NULL,
    damage character varying COLLATE pg_catalog."C",
    CONSTRAINT complete_when_active CHECK (((size_bytes IS NOT NULL) OR ((status)::text <> ALL ((ARRAY['active'::character varying, 'deactivated'::character varying, 'pending_delete'::character varying])::text[])))),
    CONSTRAINT content_whole CHECK ((((size_bytes IS NULL) = (checksum IS NULL)) AND ((size_bytes IS NULL) = (hash_algorithm IS NULL)) AND ((size_bytes IS NULL) = (hash_value IS NULL)) AND ((size_bytes IS NOT NULL) OR (virtual_size_bytes IS NULL)))),
    CONSTRAINT empty_until_active CHECK (((size_bytes IS NULL) OR ((status)::text <> ALL ((ARRAY['queued'::character varying, 'saving'::character varying, 'uploading'::character varying, 'importing'::character varying, 'killed'::character varying])::text[])))),
    CONSTRAINT failure_whole CHECK ((((failure_phase IS NULL) = (failure_reason IS NULL)) AND ((failure_phase IS NOT NULL) OR (failure_at IS NULL)))),
    CONSTRAINT restorable_while_waiting CHECK (((deleted_from IS NULL) OR (((status)::text = 'pending_delete'::text) AND ((deleted_from)::text = ANY ((ARRAY['active'::character varying, 'deactivated'::character varying])::text[]))))),
    CONSTRAINT status_known CHECK (((status)::text = ANY ((ARRAY['queued'::character varying, 'saving'::character varying, 'uploading'::character varying, 'importing'::character varying, 'active'::character varying, 'deactivated'::character varying, 'killed'::character varying, 'pending_delete'::character varying, 'deleted'::character varying])::text[]))),
    CONSTRAINT visibility_known CHECK (((visibility)::text = ANY ((ARRAY['private'::character varying, 'shared'::character varying, 'community'::character varying, 'public'::character varying])::text[])))
);
CREATE TABLE public.instances (
    id character varying NOT NULL COLLATE pg_catalog."C",
    version character varying NOT NULL COLLATE pg_catalog."C",
    roles json NOT NULL,
    started_at timestamp with time zone NOT NULL,
    seen_at timestamp with time zone NOT NULL
);
CREATE TABLE public.task_records (
    id character varying NOT NULL COLLATE pg_catalog."C",
    type character varying NOT NULL COLLATE pg_catalog."C",
    owner character varying NOT NULL COLLATE pg_catalog."C",
    user_id character varying NOT NULL COLLATE pg_catalog."C",
    roles json NOT NULL,
    request_id character varying COLLATE pg_catalog."C",
    input json NOT NULL,
    sealed bytea,
    image_id character varying COLLATE pg_catalog."C",
    writes character varying COLLATE pg_catalog."C",
    status character varying NOT NULL COLLATE pg_catalog."C",
    attempts integer NOT NULL,
    max_attempts integer NOT NULL,
    phase character varying COLLATE pg_catalog."C",
    done_bytes bigint,
    total_bytes bigint,
    result json,
    message character varying COLLATE pg_catalog."C",
    keep_for bigint NOT NULL,
    expires_at timestamp with time zone,
    created_at timestamp with time zone NOT NULL,
    updated_at timestamp with time zone NOT NULL,
    begun_at timestamp with time zone,
    token uuid,
    holder character varying COLLATE pg_catalog."C",
    lease bigint,
    until timestamp with time zone,
    finished_by uuid,
    CONSTRAINT attempts_limited CHECK (((attempts >= 0) AND (attempts <= max_attempts))),
    CONSTRAINT claimed_while_processing CHECK ((((token IS NOT NULL) = (((status)::text = 'processing'::text) AND (writes IS NULL))) AND ((token IS NULL) = (holder IS NULL)) AND ((token IS NULL) = (lease IS NULL)) AND ((token IS NULL) = (until IS NULL)))),
    CONSTRAINT failure_explained CHECK ((((status)::text = 'failure'::text) = (message IS NOT NULL))),
    CONSTRAINT final_expires CHECK ((((status)::text = ANY ((ARRAY['success'::character varying, 'failure'::character varying])::text[])) = (expires_at IS NOT NULL))),
    CONSTRAINT final_without_secrets CHECK (((expires_at IS NULL) OR (sealed IS NULL))),
    CONSTRAINT status_known CHECK (((status)::text = ANY ((ARRAY['pending'::character varying, 'processing'::character varying, 'success'::character varying, 'failure'::character varying])::text[]))),
    CONSTRAINT success_answered CHECK ((((status)::text = 'success'::text) = (result IS NOT NULL)))
);
CREATE TABLE public.tasks (
    id character varying NOT NULL COLLATE pg_catalog."C",
    image_id character varying NOT NULL COLLATE pg_catalog."C",
    status character varying NOT NULL COLLATE pg_catalog."C",
    attempts integer NOT NULL,
    max_attempts integer NOT NULL,
    message character varying COLLATE pg_catalog."C",
    CONSTRAINT attempts_limited CHECK (((attempts >= 0) AND (attempts <= max_attempts))),
    CONSTRAINT failure_explained CHECK ((((status)::text = 'failure'::text) = (message IS NOT NULL))),
    CONSTRAINT status_known CHECK (((status)::text = ANY ((ARRAY['pending'::character varying, 'processing'::character varying, 'success'::character varying, 'failure'::character varying])::text[])))
);
CREATE TABLE public.tombstones (
    id character varying NOT NULL COLLATE pg_catalog."C"
);
INSERT INTO public.accounts VALUES ('p1', 100, 1000);
INSERT INTO public.alembic_version VALUES ('0003');
INSERT INTO public.blobs VALUES ('active/1', 'local', 10, 'kept', 2, NULL, NULL, 0, NULL, NULL, false, false);
INSERT INTO public.blobs VALUES ('deactivated/1', 'local', 10, 'kept', 1, NULL, NULL, 0, NULL, NULL, false, false);
INSERT INTO public.blobs VALUES ('restorable/1', 'local', 10, 'kept', 1, NULL, NULL, 0, NULL, NULL, false, false);
INSERT INTO public.blobs VALUES ('expired/1', 'local', 10, 'doomed', 0, '2024-11-29 22:34:02.968748+00', 'expired', 1, 'the disk is away', NULL, false, false);
INSERT INTO public.blobs VALUES ('damaged/1', 'local', 10, 'kept', 1, NULL, NULL, 0, NULL, NULL, false, false);
INSERT INTO public.blobs VALUES ('saving/1', 'local', 30, 'writing', 1, NULL, NULL, 0, NULL, 'upload-1', false, false);
INSERT INTO public.blobs VALUES ('failed/1', 'local', 30, 'doomed', 0, '2024-11-29 22:34:53.226391+00', NULL, 0, NULL, NULL, true, false);
INSERT INTO public.blobs VALUES ('staged/1', 'local', 10, 'kept', 1, NULL, NULL, 0, NULL, NULL, false, false);
INSERT INTO public.blobs VALUES ('importing/1', 'local', 10, 'kept', 1, NULL, NULL, 0, NULL, NULL, false, false);
INSERT INTO public.blobs VALUES ('stray', 'local', 7, 'doomed', 0, '2024-11-29 23:33:53.658542+00', NULL, 0, NULL, NULL, true, false);
INSERT INTO public.claims VALUES ('00000000-0000-0000-0000-000000000006', 'saving', 'node-1', 3153600000000000, '2126-11-05 22:33:53.147169+00');
INSERT INTO public.compatibility VALUES ('0001');
INSERT INTO public.image_locations VALUES ('active', 'active/1', 0);
INSERT INTO public.image_locations VALUES ('clone', 'active/1', 0);
INSERT INTO public.image_locations VALUES ('deactivated', 'deactivated/1', 0);
INSERT INTO public.image_locations VALUES ('restorable', 'restorable/1', 0);
INSERT INTO public.image_locations VALUES ('expired', 'expired/1', 0);
INSERT INTO public.image_locations VALUES ('damaged', 'damaged/1', 0);
INSERT INTO public.image_locations VALUES ('saving', 'saving/1', 0);
INSERT INTO public.image_locations VALUES ('staged', 'staged/1', -1);
INSERT INTO public.image_locations VALUES ('importing', 'importing/1', -1);
INSERT INTO public.image_properties VALUES ('queued', 'empty', '');
INSERT INTO public.image_properties VALUES ('queued', 'os_distro', 'debian');
INSERT INTO public.image_properties VALUES ('active', 'p', 'v');
INSERT INTO public.image_tags VALUES ('queued', 't1');
INSERT INTO public.image_tags VALUES ('queued', 'ü');
INSERT INTO public.image_tags VALUES ('active', 'a');
INSERT INTO public.images VALUES ('queued', 'p1', 'größe ''x''', 'raw', 'bare', 'community', true, true, 512, 2, '["t1","ü"]', '{"os_distro":"debian","empty":""}', 'queued', '2024-11-29 22:33:51.850348+00', NULL, '2024-11-29 22:33:51.850348+00', '2024-11-29 22:33:51.850348+00', 0, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, false, NULL);
INSERT INTO public.images VALUES ('active', 'p1', 'debian', 'raw', 'bare', 'public', false, false, 0, 0, '["a"]', '{"p":"v"}', 'active', '2024-11-29 22:33:52.168605+00', NULL, '2024-11-29 22:33:51.941035+00', '2024-11-29 22:33:52.194516+00', 3, 10, 'md5 of them', 'sha512', 'sha512 of them', 20, '00000000-0000-0000-0000-000000000001', NULL, NULL, NULL, false, NULL);
INSERT INTO public.images VALUES ('clone', 'p1', NULL, 'raw', 'bare', 'shared', false, false, 0, 0, '[]', '{}', 'active', '2024-11-29 22:33:52.440726+00', NULL, '2024-11-29 22:33:52.347792+00', '2024-11-29 22:33:52.440726+00', 1, 10, 'md5 of them', 'sha512', 'sha512 of them', 20, NULL, NULL, NULL, NULL, false, NULL);
INSERT INTO public.images VALUES ('deactivated', 'p1', NULL, 'raw', 'bare', 'shared', false, false, 0, 0, '[]', '{}', 'deactivated', '2024-11-29 22:33:52.730981+00', NULL, '2024-11-29 22:33:52.456237+00', '2024-11-29 22:33:52.730981+00', 3, 10, 'md5 of them', 'sha512', 'sha512 of them', 20, '00000000-0000-0000-0000-000000000002', NULL, NULL, NULL, false, NULL);
INSERT INTO public.images VALUES ('restorable', 'p1', NULL, 'raw', 'bare', 'shared', false, false, 0, 0, '[]', '{}', 'pending_delete', '2024-11-29 22:33:52.834544+00', 'active', '2024-11-29 22:33:52.739674+00', '2024-11-29 22:33:52.834544+00', 3, 10, 'md5 of them', 'sha512', 'sha512 of them', 20, '00000000-0000-0000-0000-000000000003', NULL, NULL, NULL, false, NULL);
INSERT INTO public.images VALUES ('expired', 'p1', NULL, 'raw', 'bare', 'shared', false, false, 0, 0, '[]', '{}', 'pending_delete', '2024-11-29 22:33:52.924052+00', NULL, '2024-11-29 22:33:52.849436+00', '2024-11-29 22:33:52.937645+00', 4, 10, 'md5 of them', 'sha512', 'sha512 of them', 20, '00000000-0000-0000-0000-000000000004', NULL, NULL, NULL, false, NULL);
INSERT INTO public.images VALUES ('damaged', 'p1', NULL, 'raw', 'bare', 'shared', false, false, 0, 0, '[]', '{}', 'active', '2024-11-29 22:33:53.064855+00', NULL, '2024-11-29 22:33:52.970011+00', '2024-11-29 22:33:53.089275+00', 3, 10, 'md5 of them', 'sha512', 'sha512 of them', 20, '00000000-0000-0000-0000-000000000005', NULL, NULL, NULL, false, 'sha512 is another one');
INSERT INTO public.images VALUES ('saving', 'p1', NULL, 'raw', 'bare', 'shared', false, false, 0, 0, '[]', '{}', 'saving', '2024-11-29 22:33:53.147169+00', NULL, '2024-11-29 22:33:53.113649+00', '2024-11-29 22:33:53.147169+00', 1, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, false, NULL);
INSERT INTO public.images VALUES ('failed', 'p1', NULL, 'raw', 'bare', 'shared', false, false, 0, 0, '[]', '{}', 'queued', '2024-11-29 22:33:53.226391+00', NULL, '2024-11-29 22:33:53.176444+00', '2024-11-29 22:33:53.226391+00', 2, NULL, NULL, NULL, NULL, NULL, NULL, 'upload', 'The server that was working on it went silent.', '2024-11-29 22:33:53.226391+00', false, NULL);
INSERT INTO public.images VALUES ('staged', 'p1', NULL, 'raw', 'bare', 'shared', false, false, 0, 0, '[]', '{}', 'uploading', '2024-11-29 22:33:53.264933+00', NULL, '2024-11-29 22:33:53.248985+00', '2024-11-29 22:33:53.302287+00', 2, NULL, NULL, NULL, NULL, NULL, '00000000-0000-0000-0000-000000000008', NULL, NULL, NULL, false, NULL);
INSERT INTO public.images VALUES ('importing', 'p1', NULL, 'raw', 'bare', 'shared', false, false, 0, 0, '[]', '{}', 'importing', '2024-11-29 22:33:53.388251+00', NULL, '2024-11-29 22:33:53.310028+00', '2024-11-29 22:33:53.388251+00', 3, NULL, NULL, NULL, NULL, NULL, '00000000-0000-0000-0000-000000000009', NULL, NULL, NULL, false, NULL);
INSERT INTO public.images VALUES ('deleted', 'p1', NULL, 'raw', 'bare', 'shared', false, false, 0, 0, '[]', '{}', 'deleted', '2024-11-29 22:33:53.540707+00', NULL, '2024-11-29 22:33:53.518777+00', '2024-11-29 22:33:53.540707+00', 1, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, false, NULL);
INSERT INTO public.images VALUES ('draft', 'p1', NULL, 'raw', 'bare', 'shared', false, false, 0, 0, '[]', '{}', 'importing', '2024-11-29 22:33:53.648901+00', NULL, '2024-11-29 22:33:53.648901+00', '2024-11-29 22:33:53.648901+00', 0, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, true, NULL);
INSERT INTO public.instances VALUES ('node-1', '0.1.0', '["api","scrubber"]', '2024-11-29 22:33:51.654905+00', '2024-11-29 22:33:51.654905+00');
INSERT INTO public.task_records VALUES ('import', 'api_image_import', 'p1', 'u1', '["member"]', NULL, '{"method":{"name":"glance-direct"}}', NULL, 'importing', 'importing', 'pending', 0, 3, NULL, NULL, NULL, NULL, NULL, 172800000000, NULL, '2024-11-29 22:33:53.388251+00', '2024-11-29 22:33:53.388251+00', NULL, NULL, NULL, NULL, NULL, NULL);
INSERT INTO public.task_records VALUES ('pending', 'verify', 'p1', 'u1', '["member","reader"]', 'req-1', '{"image_id":"active"}', '\x00736563726574ff', 'active', NULL, 'pending', 0, 3, NULL, NULL, NULL, NULL, NULL, 172800000000, NULL, '2024-11-29 22:33:53.554697+00', '2024-11-29 22:33:53.554697+00', NULL, NULL, NULL, NULL, NULL, NULL);
INSERT INTO public.task_records VALUES ('running', 'verify', 'p1', '', '[]', NULL, '{}', NULL, 'active', NULL, 'processing', 1, 3, 'reading', 5, 10, NULL, NULL, 172800000000, NULL, '2024-11-29 22:33:53.565124+00', '2024-11-29 22:33:53.616577+00', '2024-11-29 22:33:53.597546+00', '00000000-0000-0000-0000-00000000000a', 'node-1', 3153600000000000, '2126-11-05 22:33:53.597546+00', NULL);
INSERT INTO public.task_records VALUES ('succeeded', 'verify', 'p1', '', '[]', NULL, '{}', NULL, NULL, NULL, 'success', 1, 3, NULL, NULL, NULL, '{"is_good":true,"text":"größe"}', NULL, 3153600000000000, '2126-11-05 22:33:53.642725+00', '2024-11-29 22:33:53.631694+00', '2024-11-29 22:33:53.642725+00', '2024-11-29 22:33:53.637691+00', NULL, NULL, NULL, NULL, '00000000-0000-0000-0000-00000000000b');
INSERT INTO public.task_records VALUES ('cancelled', 'export', 'p2', '', '[]', NULL, '{"to":"archive"}', NULL, NULL, NULL, 'failure', 0, 3, NULL, NULL, NULL, NULL, 'It was cancelled.', 3153600000000000, '2126-11-05 22:33:53.646967+00', '2024-11-29 22:33:53.645141+00', '2024-11-29 22:33:53.646967+00', NULL, NULL, NULL, NULL, NULL, NULL);
INSERT INTO public.task_records VALUES ('clones', 'clone', 'p1', '', '[]', NULL, '{"source_image_url":"http://x/"}', NULL, NULL, 'draft', 'pending', 0, 3, NULL, NULL, NULL, NULL, NULL, 172800000000, NULL, '2024-11-29 22:33:53.648901+00', '2024-11-29 22:33:53.648901+00', NULL, NULL, NULL, NULL, NULL, NULL);
INSERT INTO public.tombstones VALUES ('buried');
ALTER TABLE ONLY public.accounts
    ADD CONSTRAINT accounts_pkey PRIMARY KEY (owner);
ALTER TABLE ONLY public.alembic_version
    ADD CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num);
ALTER TABLE ONLY public.blobs
    ADD CONSTRAINT blobs_pkey PRIMARY KEY (key);
ALTER TABLE ONLY public.claims
    ADD CONSTRAINT claims_image_id_key UNIQUE (image_id);
ALTER TABLE ONLY public.claims
    ADD CONSTRAINT claims_pkey PRIMARY KEY (token);
ALTER TABLE ONLY public.compatibility
    ADD CONSTRAINT compatibility_pkey PRIMARY KEY (oldest);
ALTER TABLE ONLY public.image_locations
    ADD CONSTRAINT image_locations_pkey PRIMARY KEY (image_id, key);
ALTER TABLE ONLY public.image_properties
    ADD CONSTRAINT image_properties_pkey PRIMARY KEY (image_id, name);
ALTER TABLE ONLY public.image_tags
    ADD CONSTRAINT image_tags_pkey PRIMARY KEY (image_id, tag);
ALTER TABLE ONLY public.images
    ADD CONSTRAINT images_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.instances
    ADD CONSTRAINT instances_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.task_records
    ADD CONSTRAINT task_records_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.tasks
    ADD CONSTRAINT tasks_image_id_key UNIQUE (image_id);
ALTER TABLE ONLY public.tasks
    ADD CONSTRAINT tasks_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.tombstones
    ADD CONSTRAINT tombstones_pkey PRIMARY KEY (id);
CREATE INDEX blobs_awaited_by ON public.blobs USING btree (awaited_by) WHERE (awaited_by IS NOT NULL);
CREATE INDEX blobs_due ON public.blobs USING btree (due_at, key) WHERE (due_at IS NOT NULL);
CREATE INDEX blobs_stock ON public.blobs USING btree (store, state, size_bytes, failures);
CREATE INDEX blobs_store ON public.blobs USING btree (store, key);
CREATE INDEX claims_until ON public.claims USING btree (until);
CREATE INDEX image_locations_key ON public.image_locations USING btree (key);
CREATE INDEX image_properties_value ON public.image_properties USING btree (name, substr((value)::text, 1, 64), image_id);
CREATE INDEX image_tags_tag ON public.image_tags USING btree (tag, image_id);
CREATE INDEX images_created ON public.images USING btree (created_at, id);
CREATE INDEX images_damaged ON public.images USING btree (status) WHERE (damage IS NOT NULL);
CREATE INDEX images_name ON public.images USING btree (name NULLS FIRST, id);
CREATE INDEX images_owner ON public.images USING btree (owner, created_at, id);
CREATE INDEX images_restorable ON public.images USING btree (since, id) WHERE (deleted_from IS NOT NULL);
CREATE INDEX images_since ON public.images USING btree (status, since, id);
CREATE INDEX images_status ON public.images USING btree (status, created_at, id);
CREATE INDEX images_visibility ON public.images USING btree (visibility, created_at, id);
CREATE INDEX task_records_begun ON public.task_records USING btree (owner, begun_at) WHERE (begun_at IS NOT NULL);
CREATE INDEX task_records_created ON public.task_records USING btree (created_at, id);
CREATE INDEX task_records_expiring ON public.task_records USING btree (expires_at, id) WHERE (expires_at IS NOT NULL);
CREATE INDEX task_records_image ON public.task_records USING btree (image_id, created_at, id);
CREATE INDEX task_records_owner ON public.task_records USING btree (owner, created_at, id);
CREATE INDEX task_records_status ON public.task_records USING btree (status, type, created_at);
CREATE INDEX task_records_token ON public.task_records USING btree (token) WHERE (token IS NOT NULL);
CREATE INDEX task_records_until ON public.task_records USING btree (until) WHERE (until IS NOT NULL);
CREATE INDEX task_records_waiting ON public.task_records USING btree (status, owner, created_at, id) WHERE (expires_at IS NULL);
CREATE UNIQUE INDEX task_records_writing ON public.task_records USING btree (writes) WHERE (expires_at IS NULL);
CREATE INDEX task_records_written ON public.task_records USING btree (writes, created_at, id);
CREATE INDEX tasks_pending ON public.tasks USING btree (image_id) WHERE ((status)::text = 'pending'::text);
ALTER TABLE ONLY public.blobs
    ADD CONSTRAINT blobs_awaited_by_fkey FOREIGN KEY (awaited_by) REFERENCES public.images(id);
ALTER TABLE ONLY public.claims
    ADD CONSTRAINT claims_image_id_fkey FOREIGN KEY (image_id) REFERENCES public.images(id);
ALTER TABLE ONLY public.image_locations
    ADD CONSTRAINT image_locations_image_id_fkey FOREIGN KEY (image_id) REFERENCES public.images(id);
ALTER TABLE ONLY public.image_locations
    ADD CONSTRAINT image_locations_key_fkey FOREIGN KEY (key) REFERENCES public.blobs(key);
ALTER TABLE ONLY public.image_properties
    ADD CONSTRAINT image_properties_image_id_fkey FOREIGN KEY (image_id) REFERENCES public.images(id) ON DELETE CASCADE;
ALTER TABLE ONLY public.image_tags
    ADD CONSTRAINT image_tags_image_id_fkey FOREIGN KEY (image_id) REFERENCES public.images(id) ON DELETE CASCADE;
ALTER TABLE ONLY public.tasks
    ADD CONSTRAINT tasks_image_id_fkey FOREIGN KEY (image_id) REFERENCES public.images(id) ON DELETE CASCADE;
