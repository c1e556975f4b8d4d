"""What a W&B server keeps, and the GraphQL operations with which its client (0.31) tells and asks it."""

import base64
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

ENTITY = "testers"
CREATED = "2026-01-01T00:00:00Z"
LONGEST_PAGE = 10  # of runs, whatever is asked for: the rest comes with the next

Json = dict[str, Any]


@dataclass
class Run:
    """What the server was told of a run."""

    entity: str
    project: str
    id: str
    name: str = ""
    group: str | None = None
    job_type: str | None = None
    tags: list[str] = field(default_factory=list)
    notes: str | None = None
    config_entries: Json = field(default_factory=dict)  # with the client's own, as it sent them
    lines: dict[str, dict[int, str]] = field(default_factory=dict)  # of the files that grow: name -> offset -> line
    files: dict[str, bytes] = field(default_factory=dict)
    exit_code: int | None = None

    @property
    def path(self) -> str:
        return f"{self.entity}/{self.project}/{self.id}"

    @property
    def storage_id(self) -> str:
        """The server's own id, by which the client changes the run."""
        return base64.b64encode(self.path.encode()).decode()

    @property
    def state(self) -> str:
        if self.exit_code is None:
            return "running"
        return "failed" if self.exit_code else "finished"

    @property
    def config(self) -> Json:
        return {name: entry["value"] for name, entry in self.config_entries.items() if name != "_wandb"}

    @property
    def history(self) -> list[Json]:
        """The rows in the order of their offsets. A row replaces the one that was sent to its offset before."""
        return [json.loads(line) for line in self.sent("wandb-history.jsonl")]

    @property
    def summary(self) -> Json:
        sent = self.sent("wandb-summary.json")
        return dict(json.loads(sent[-1])) if sent else {}

    def sent(self, name: str) -> list[str]:
        """The lines of a file that grows."""
        lines = self.lines.get(name, {})
        return [lines[offset] for offset in sorted(lines)]


@dataclass
class Artifact:
    """A version of an artifact; it is whole once it is committed."""

    id: str
    run: str
    type: str
    name: str  # entity/project/collection
    digest: str
    aliases: list[str]
    committed: bool = False
    manifest: Json = field(default_factory=dict)
    files: dict[str, bytes] = field(default_factory=dict)


@dataclass
class Report:
    """A report, which the service calls a view."""

    id: str
    entity: str
    project: str
    name: str
    title: str
    description: str
    spec: Json
    saves: int


class Backend:
    """Everything that was told."""

    def __init__(self) -> None:
        self.url = ""  # of the server, for the addresses to which files are uploaded
        self.projects: set[tuple[str, str]] = set()
        self.runs: dict[str, Run] = {}  # by entity/project/id
        self.artifacts: list[Artifact] = []
        self.reports: dict[str, Report] = {}

    def artifact(self, id_: str) -> Artifact:
        return next(artifact for artifact in self.artifacts if artifact.id == id_)

    def extend(self, path: str, body: Json) -> None:
        """Take more lines of a run's files, and its end."""
        run = self.runs[path]
        for name, chunk in body.get("files", {}).items():
            run.lines.setdefault(name, {}).update(enumerate(chunk["content"], chunk["offset"]))
        run.exit_code = body.get("exitcode", 0) if body.get("complete") else None

    def upload(self, kind: str, owner: str, name: str, content: bytes) -> None:
        """Take a whole file, sent to the address that upload_url gave."""
        if kind == "manifest":
            self.artifact(owner).manifest = json.loads(content)
        else:
            (self.runs[owner] if kind == "run" else self.artifact(owner)).files[name] = content

    def upload_url(self, kind: str, owner: str, name: str) -> str:
        return f"{self.url}/upload/" + "/".join(quote(part, safe="") for part in (kind, owner, name))


def _viewer(backend: Backend, values: Json) -> Json:
    who = {"id": "u1", "entity": ENTITY, "username": ENTITY, "name": ENTITY, "email": "", "flags": "{}", "admin": False}
    return {"viewer": {**who, "deletedAt": None, "apiKeys": _page([]), "teams": _page([{"name": ENTITY}])}}


def _features(backend: Backend, values: Json) -> Json:
    return {"serverInfo": {"features": []}}


def _upsert_run(backend: Backend, values: Json) -> Json:
    """Make or change a run, by its id or by the id that the server gave it."""
    path = base64.b64decode(values["id"]).decode() if values.get("id") else _path(values)
    entity, project_name, id_ = path.split("/")
    inserted = path not in backend.runs
    run = backend.runs.setdefault(path, Run(entity, project_name, id_))
    backend.projects.add((run.entity, run.project))
    known = {"displayName": "name", "groupName": "group", "jobType": "job_type", "tags": "tags", "notes": "notes"}
    for sent, kept in known.items():
        if values.get(sent) is not None:
            setattr(run, kept, values[sent])
    if values.get("config"):
        run.config_entries = json.loads(values["config"])
    if values.get("summaryMetrics"):
        run.lines["wandb-summary.json"] = {0: values["summaryMetrics"]}
    project = {"id": "p1", "name": run.project, "entity": {"id": "e1", "name": run.entity}}
    return {"upsertBucket": {"bucket": {**_told(run), "project": project}, "inserted": inserted}}


def _told(run: Run) -> Json:
    """A run as its client reads it."""
    return {
        "id": run.storage_id,
        "projectId": 1,
        "name": run.id,
        "displayName": run.name,
        "group": run.group,
        "jobType": run.job_type,
        "tags": run.tags,
        "notes": run.notes,
        "state": run.state,
        "config": json.dumps(run.config_entries),
        "summaryMetrics": json.dumps(run.summary),
        "systemMetrics": "{}",
        "historyLineCount": len(run.history),
        "historyKeys": {"lastStep": run.history[-1]["_step"]} if run.history else None,
        "sweepName": None,
        "commit": None,
        "readOnly": False,
        "createdAt": CREATED,
        "heartbeatAt": CREATED,
        "description": None,
        "user": {"name": ENTITY, "username": ENTITY},
    }


def _resume_status(backend: Backend, values: Json) -> Json:
    """Where a run was, for a client that goes on with it."""
    run = backend.runs.get(_path(values))
    if run is None:
        return {"model": None}
    bucket = {
        **_told(run),
        "eventsLineCount": len(run.sent("wandb-events.jsonl")),
        "logLineCount": len(run.sent("output.log")),
        "historyTail": json.dumps(run.sent("wandb-history.jsonl")[-1:]),
        "eventsTail": json.dumps(run.sent("wandb-events.jsonl")[-1:]),
        "wandbConfig": json.dumps({"t": 1}),
    }
    return {"model": {"id": "p1", "name": run.project, "entity": {"id": "e1", "name": run.entity}, "bucket": bucket}}


def _run(backend: Backend, values: Json) -> Json:
    run = backend.runs.get(_path(values))
    return {"project": {"run": run and _told(run)}}


def _runs(backend: Backend, values: Json) -> Json:
    """The runs of a project. Of the filters, equality alone is understood, also with an entry of the config."""
    wanted = json.loads(values.get("filters") or "{}")
    runs = [run for run in backend.runs.values() if run.path.startswith(f"{values['entity']}/{values['project']}/")]
    nodes = [_told(run) for run in runs if all(_entry(run, name) == value for name, value in wanted.items())]
    page = _page(nodes, LONGEST_PAGE, values.get("cursor"))
    return {"project": {"internalId": 1, "runCount": len(nodes), "readOnly": False, "runs": page}}


def _entry(run: Run, name: str) -> object:
    """What a filter asks of a run: config.NAME, or something that is told of every run."""
    section, _, entry = name.partition(".")
    return run.config.get(entry) if section == "config" else _told(run)[name]


def _history(backend: Backend, values: Json) -> Json:
    return {"project": {"run": {"history": backend.runs[_path(values)].sent("wandb-history.jsonl")}}}


def _run_files(backend: Backend, values: Json) -> Json:
    run = backend.runs[_path(values)]
    files = [{"name": name, "uploadUrl": backend.upload_url("run", run.path, name)} for name in values["files"]]
    return {"createRunFiles": {"runID": run.storage_id, "uploadHeaders": [], "files": files}}


def _artifact_type(backend: Backend, values: Json) -> Json:
    """The type that a collection has, if there is one of that name."""
    name = f"{values['entity']}/{values['project']}/{values['name'].partition(':')[0]}"
    types = [artifact.type for artifact in backend.artifacts if artifact.name == name]
    return {"project": {"artifact": {"artifactType": {"name": types[0]}} if types else None}}


def _create_artifact(backend: Backend, values: Json) -> Json:
    """A new version, or the one that has the same content already."""
    asked = values["input"]
    name = f"{asked['entityName'] or ENTITY}/{asked['projectName']}/{asked['artifactCollectionName']}"
    versions = [artifact for artifact in backend.artifacts if artifact.name == name]
    artifact = next((version for version in versions if version.digest == asked["digest"]), None)
    if artifact is None:
        id_ = f"a{len(backend.artifacts) + 1}"
        aliases = [alias["alias"] for alias in asked.get("aliases") or []]
        artifact = Artifact(id_, asked["runName"], asked["artifactTypeName"], name, asked["digest"], aliases)
        backend.artifacts.append(artifact)
    state = "COMMITTED" if artifact.committed else "PENDING"
    latest = {"latestArtifact": {"id": versions[-1].id} if versions else None}
    return {"createArtifact": {"artifact": {"id": artifact.id, "state": state, "artifactSequence": latest}}}


def _artifact_manifest(backend: Backend, values: Json) -> Json:
    id_ = values.get("artifactID") or values["artifactManifestID"].removeprefix("manifest-")
    file = {"id": "f1", "uploadUrl": backend.upload_url("manifest", id_, "manifest"), "uploadHeaders": []}
    manifest = {"artifactManifest": {"id": f"manifest-{id_}", "file": file}}
    return {"createArtifactManifest": manifest, "updateArtifactManifest": manifest}


def _artifact_files(backend: Backend, values: Json) -> Json:
    def node(asked: Json) -> Json:
        owner, name = asked["artifactID"], asked["name"]
        upload = {"uploadUrl": backend.upload_url("artifact", owner, name), "uploadHeaders": []}
        return {**upload, "storagePath": name, "uploadMultipartUrls": None, "artifact": {"id": owner}}

    return {"createArtifactFiles": {"files": _page([node(asked) for asked in values["input"]["artifactFiles"]])}}


def _commit_artifact(backend: Backend, values: Json) -> Json:
    artifact = backend.artifact(values["artifactID"])
    artifact.committed = True
    return {"commitArtifact": {"artifact": {"id": artifact.id, "digest": artifact.digest}}}


def _artifact_by_id(backend: Backend, values: Json) -> Json:
    artifact = backend.artifact(values["id"])
    entity, project, collection = artifact.name.split("/")
    of_project = {"id": "p1", "internalId": "1", "name": project, "entity": {"name": entity}}
    told = {
        "id": artifact.id,
        "artifactSequence": {"__typename": "ArtifactSequence", "name": collection, "project": of_project},
        "artifactType": {"name": artifact.type},
        "state": "COMMITTED" if artifact.committed else "PENDING",
        "size": sum(map(len, artifact.files.values())),
        "digest": artifact.digest,
        "fileCount": len(artifact.files),
        "createdAt": CREATED,
        "ttlDurationSeconds": -1,
        "ttlIsInherited": True,
        "tags": [],
        "aliases": [],
    }
    unsaid = ("versionIndex", "description", "metadata", "historyStep", "commitHash", "updatedAt")
    return {"artifact": told | dict.fromkeys(unsaid)}


def _project_id(backend: Backend, values: Json) -> Json:
    known = (values["entityName"], values["projectName"]) in backend.projects
    return {"project": {"id": "p1", "internalId": "UHJvamVjdDoxOjE="} if known else None}


def _projects(backend: Backend, values: Json) -> Json:
    entity = values["entity"]
    return {"models": _page([_project(entity, name) for owner, name in sorted(backend.projects) if owner == entity])}


def _create_project(backend: Backend, values: Json) -> Json:
    entity, name = values["input"]["entityName"], values["input"]["name"]
    backend.projects.add((entity, name))
    return {"result": {"project": _project(entity, name), "model": _project(entity, name), "inserted": True}}


def _project(entity: str, name: str) -> Json:
    known = {"__typename": "Project", "id": "p1", "name": name, "entityName": entity, "createdAt": CREATED}
    return {**known, "isBenchmark": False, "user": None, "description": None, "access": "PRIVATE", "views": "{}"}


def _save_report(backend: Backend, values: Json) -> Json:
    """A new report, or another version of the one whose id is given."""
    id_ = values.get("id") or base64.b64encode(f"View:{len(backend.reports) + 1}".encode()).decode()
    before = backend.reports.get(id_)
    backend.reports[id_] = Report(
        id_,
        values["entityName"],
        values["projectName"],
        values["name"],
        values["displayName"],
        values["description"],
        json.loads(values["spec"]),
        saves=before.saves + 1 if before else 1,
    )
    view = {name: values[name] for name in ("type", "name", "displayName", "description", "spec")}
    project = {"id": "p1", "name": values["projectName"], "entityName": values["entityName"]}
    answer = {**view, "id": id_, "project": project, "updatedAt": CREATED}
    return {"upsertView": {"view": answer, "inserted": before is None}}


def _reports(backend: Backend, values: Json) -> Json:
    """The reports of a project with a name."""
    wanted = values["entityName"], values["projectName"], values["name"]
    found = [each for each in backend.reports.values() if (each.entity, each.project, each.name) == wanted]
    return {"project": {"allViews": _page([{"id": each.id, "name": each.name} for each in found])}}


def _path(values: Json) -> str:
    """The path of the run that an operation is about."""
    return "/".join((values.get("entity") or ENTITY, values["project"], values.get("run") or values["name"]))


def _page(nodes: list[Json], first: int | None = None, after: str | None = None) -> Json:
    """A page of GraphQL: the one that follows a cursor, or all."""
    begin = int(after) + 1 if after else 0
    end = begin + (first or len(nodes))
    edges = [{"node": node, "cursor": str(begin + number)} for number, node in enumerate(nodes[begin:end])]
    cursor = edges[-1]["cursor"] if edges else None
    info = {"__typename": "PageInfo", "endCursor": cursor, "hasNextPage": end < len(nodes)}
    return {"edges": edges, "pageInfo": info}


OPERATIONS: dict[str, Callable[[Backend, Json], Json]] = {
    "Viewer": _viewer,
    "GetViewer": _viewer,
    "GetDefaultEntity": _viewer,
    "ServerFeaturesQuery": _features,
    "UpsertBucket": _upsert_run,
    "RunResumeStatus": _resume_status,
    "Run": _run,
    "RunHistoryKeys": _run,
    "Runs": _runs,
    "RunFullHistory": _history,
    "CreateRunFiles": _run_files,
    "ArtifactType": _artifact_type,
    "CreateArtifact": _create_artifact,
    "CreateArtifactManifest": _artifact_manifest,
    "UpdateArtifactManifest": _artifact_manifest,
    "CreateArtifactFiles": _artifact_files,
    "CommitArtifact": _commit_artifact,
    "ArtifactByID": _artifact_by_id,
    "ProjectInternalId": _project_id,
    "GetProjects": _projects,
    "CreateProject": _create_project,
    "upsertView": _save_report,
    "ProjectViews": _reports,
}
