from dataclasses import replace

import pytest

from rowcast.core.job import JobState

from .fakes import PARENT, make_spec

AT = "/v1/projects/acme/locations/us-central1"


@pytest.fixture
def delete(client, wired):
    def run():
        job = wired.jobs.create(PARENT, make_spec())
        wired.jobs.put(replace(job, state=JobState.SUCCEEDED))
        return client.delete(f"/v1/{job.name}").json()

    return run


@pytest.mark.parametrize("base", ["v1", "v1beta1", "ui"])
def test_an_operation_is_read_waited_for_cancelled_and_deleted(client, delete, base):
    operation = delete()
    path = f"/{base}/{operation['name']}"
    assert client.get(path).json() == operation
    assert client.post(f"{path}:wait", params={"timeout": "5s"}).json() == operation
    assert client.post(f"{path}:cancel", json={}).json() == {}
    assert client.get(path.rpartition("/")[0]).json() == {"operations": [operation]}
    assert client.delete(path).json() == {}
    for answer in (
        client.get(path),
        client.delete(path),
        client.post(f"{path}:wait"),
        client.post(f"{path}:cancel"),
    ):
        assert answer.status_code == 404
        assert answer.json()["error"]["status"] == "NOT_FOUND"
    assert client.get(path.rpartition("/")[0]).json() == {}


def test_operations_are_paged(client, delete):
    names = [delete()["name"] for _ in range(5)]
    seen, token = [], ""
    while True:
        page = client.get(f"{AT}/operations", params={"pageSize": 2, "pageToken": token}).json()
        seen += [operation["name"] for operation in page["operations"]]
        token = page.get("nextPageToken")
        if not token:
            break
    assert seen == names[::-1]


def test_operations_of_other_projects_are_not_found(client, delete):
    name = delete()["name"].replace("acme", "other")
    assert client.get(f"/v1/{name}").status_code == 404


def test_operations_have_no_filter(client):
    assert client.get(f"{AT}/operations", params={"filter": "done=true"}).status_code == 400
