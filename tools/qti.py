"""A quiz as QTI 1.2, the package that Canvas imports: a manifest and one assessment."""

import zipfile
from pathlib import Path
from typing import TYPE_CHECKING
from xml.etree.ElementTree import Element, SubElement, tostring

from markup import marked_up

if TYPE_CHECKING:
    from quiz import Question

QTI = "http://www.imsglobal.org/xsd/ims_qtiasiv1p2"
PACKAGE = "http://www.imsglobal.org/xsd/imsccv1p1/imscp_v1p1"
ROUNDING = 1e-3  # within which a wrong number is known as one that students give
EPOCH = (2000, 1, 1, 0, 0, 0)  # of the files in the archive: the same questions, the same bytes


def write(path: Path, name: str, title: str, questions: "list[Question]") -> None:
    """Write the archive."""
    files = {"imsmanifest.xml": manifest(name), f"{name}/{name}.xml": assessment(title, questions)}
    with zipfile.ZipFile(path, "w") as archive:
        for file, root in files.items():
            text = tostring(root, encoding="UTF-8", xml_declaration=True)
            archive.writestr(zipfile.ZipInfo(file, EPOCH), text)


def manifest(name: str) -> Element:
    """What the archive holds."""
    root = Element("manifest", {"identifier": f"{name}-manifest", "xmlns": PACKAGE})
    about = SubElement(root, "metadata")
    SubElement(about, "schema").text = "IMS Content"
    SubElement(about, "schemaversion").text = "1.1.3"
    SubElement(root, "organizations")
    resources = SubElement(root, "resources")
    kind = {"identifier": name, "type": "imsqti_xmlv1p2"}
    SubElement(SubElement(resources, "resource", kind), "file", {"href": f"{name}/{name}.xml"})
    return root


def assessment(title: str, questions: "list[Question]") -> Element:
    """All questions, one point each."""
    root = Element("questestinterop", {"xmlns": QTI})
    test = SubElement(root, "assessment", {"ident": title.replace(" ", "-"), "title": title})
    section = SubElement(test, "section", {"ident": "root_section"})
    for question in questions:
        _item(section, question)
    return root


def _item(section: Element, question: "Question") -> None:
    item = SubElement(section, "item", {"ident": question.name, "title": question.name})
    numeric = question.tolerance is not None
    kind = "numerical_question" if numeric else "multiple_choice_question"
    about = SubElement(SubElement(item, "itemmetadata"), "qtimetadata")
    for label, entry in (("question_type", kind), ("points_possible", "1.0")):
        field = SubElement(about, "qtimetadatafield")
        SubElement(field, "fieldlabel").text = label
        SubElement(field, "fieldentry").text = entry
    presentation = SubElement(item, "presentation")
    _material(presentation, question.text)
    if numeric:
        response = {"ident": "response1", "rcardinality": "Single"}
        blank = SubElement(presentation, "response_str", response)
        blank = SubElement(blank, "render_fib", {"fibtype": "Decimal"})
        SubElement(blank, "response_label", {"ident": "answer1"})
    else:
        response = {"ident": "response1", "rcardinality": "Single"}
        choices = SubElement(presentation, "response_lid", response)
        choices = SubElement(choices, "render_choice")
        for number, answer in enumerate(question.answers):
            choice = SubElement(choices, "response_label", {"ident": f"answer{number}"})
            _material(choice, answer.said)
    _scores(item, question)


def _scores(item: Element, question: "Question") -> None:
    """Whoever gives an answer sees its feedback; the right one is worth everything."""
    processing = SubElement(item, "resprocessing")
    score = {"maxvalue": "100", "minvalue": "0", "varname": "SCORE", "vartype": "Decimal"}
    SubElement(SubElement(processing, "outcomes"), "decvar", score)
    for number, answer in enumerate(question.answers):
        go_on = {"continue": "No" if answer.right else "Yes"}
        condition = SubElement(processing, "respcondition", go_on)
        given = SubElement(condition, "conditionvar")
        if answer.number is None:
            SubElement(given, "varequal", {"respident": "response1"}).text = f"answer{number}"
        else:
            within = (question.tolerance or 0.0) if answer.right else ROUNDING
            for bound, sign in (("vargte", -1), ("varlte", 1)):
                limit = SubElement(given, bound, {"respident": "response1"})
                limit.text = f"{answer.number + sign * within:.6g}"
        if answer.right:
            SubElement(condition, "setvar", {"action": "Set", "varname": "SCORE"}).text = "100"
        told = {"feedbacktype": "Response", "linkrefid": f"answer{number}_fb"}
        SubElement(condition, "displayfeedback", told)
    for number, answer in enumerate(question.answers):
        box = SubElement(item, "itemfeedback", {"ident": f"answer{number}_fb"})
        _material(SubElement(box, "flow_mat"), answer.feedback)


def _material(parent: Element, text: str) -> None:
    material = SubElement(parent, "material")
    SubElement(material, "mattext", {"texttype": "text/html"}).text = marked_up(text)
