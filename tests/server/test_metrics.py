"""What Prometheus reads of a server."""

import re

from rowcast import metrics


def value(text, name, **labels):
    inside = ",".join(f'{key}="{text}"' for key, text in labels.items())
    found = re.search(rf"^{name}(?:{{{re.escape(inside)}}})? (\S+)$", text, re.M)
    return float(found[1]) if found else 0.0


def test_requests_are_counted_by_method_and_status(client):
    before = value(
        client.get("/metrics").text, "rowcast_request_seconds_count", method="GET", status="404"
    )
    client.get("/v1/nowhere")
    answer = client.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain")
    after = value(answer.text, "rowcast_request_seconds_count", method="GET", status="404")
    assert after == before + 1


def test_metrics_need_a_token(anonymous):
    assert anonymous.get("/metrics").status_code == 401


def test_made_up_methods_share_a_name(client):
    client.request("BREW", "/v1/nowhere")
    text = metrics.exposition().decode()
    assert "BREW" not in text
    assert 'method="other"' in text
