from tedg.report.page import section


def modality(material):
    return section("modality", "Modalities", (), "x")
