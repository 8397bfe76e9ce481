import sqlite3

import pytest

from backtests.lookup import find


@pytest.fixture
def root(tmp_path, monkeypatch):
    """MLflow's tables, as far as they are read."""
    for name in ("MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI"):
        monkeypatch.delenv(name, raising=False)
    folder = tmp_path / "my files"
    folder.mkdir()
    (folder / "MLmodel").write_text("")
    database = sqlite3.connect(tmp_path / "mlflow.db")
    database.executescript(
        "CREATE TABLE registered_model_aliases (alias, version, name);"
        "CREATE TABLE model_versions (name, version, storage_location);"
        "CREATE TABLE model_version_tags (key, value, name, version);"
        "INSERT INTO registered_model_aliases VALUES ('champion', 2, 'mine');"
        f"INSERT INTO model_versions VALUES ('mine', 1, 's3://elsewhere'), ('mine', 2, '{folder.as_uri()}');"
        "INSERT INTO model_version_tags VALUES ('files', '{}', 'mine', 2), ('files', 'other', 'mine', 1);"
    )
    database.commit()
    database.close()
    return tmp_path


def test_a_version_is_found_by_its_alias_and_by_its_number(root):
    assert find("mine", "", "champion", root) == (2, {"files": "{}"}, root / "my files")
    assert find("mine", "2", "", root) == find("mine", "", "champion", root)


def test_what_is_not_as_expected_is_left_to_mlflow(root, monkeypatch):
    for model, number, alias in (
        ("mine", "1", ""),
        ("mine", "3", ""),
        ("mine", "x", ""),
        ("mine", "", "old"),
        ("no", "", ""),
    ):
        assert find(model, number, alias, root) is None
    assert find("mine", "2", "", root / "nowhere") is None
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:1")
    with pytest.warns(UserWarning, match="MLFLOW_TRACKING_URI is http://127.0.0.1:1, so root=.* is not used"):
        assert find("mine", "2", "", root) is None
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{root}/mlflow.db")
    with pytest.warns(UserWarning, match="is not used"):
        assert find("mine", "2", "", "elsewhere").number == 2
    (root / "mlflow.db").write_bytes(b"no database")
    assert find("mine", "2", "", root) is None
