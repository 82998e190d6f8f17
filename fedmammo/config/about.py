"""What only people know of a study: texts for its report. They change nothing in what is computed."""

import re

from pydantic import Field, field_validator

from fedmammo.config.schema import Section

ITEM = re.compile(r"[a-z0-9_]+-[0-9]+[a-z]?")  # a checklist's name, a dash, an item's id


class About(Section):
    """Texts for the report, which asks for what is missing; they are no part of what a run is."""

    title: str = Field(default="", description="Of the report, and of a paper: method, population, outcome.")
    authors: str = Field(default="", description="Who did the study.")
    affiliations: str = Field(default="", description="Where they work.")
    background: str = Field(default="", description="The clinical problem, why this study, and earlier models.")
    intended_use: str = Field(default="", description="Who would use a model for whom, and where in the care pathway.")
    inequalities: str = Field(default="", description="Known inequalities between groups, and what fairness asks for.")
    eligibility: str = Field(default="", description="Who was included in the data and who was left out.")
    places: str = Field(default="", description="Where the data come from: kind of care, number and place of centres.")
    dates: str = Field(default="", description="From when to when patients were seen.")
    acquisition: str = Field(default="", description="How the images were taken: devices, views, settings.")
    outcome: str = Field(
        default="", description="How and by whom benign and malignant were told apart, and what the assessors knew."
    )
    sample_size: str = Field(default="", description="How the number of patients came about, and whether it is enough.")
    tuning: str = Field(default="", description="Which choices were made by looking at which patients.")
    ethics: str = Field(default="", description="Who approved the study; consent, or its waiver.")
    funding: str = Field(default="", description="Who paid, and what the funders had a part in.")
    conflicts: str = Field(default="", description="Conflicts of interest of each author.")
    protocol: str = Field(default="", description="Where the protocol can be read, or that there is none.")
    registration: str = Field(default="", description="Register and number, or that the study was not registered.")
    data_availability: str = Field(default="", description="Where the data can be had, and under which terms.")
    code_availability: str = Field(default="", description="Where code and models can be had.")
    patient_involvement: str = Field(default="", description="What part patients and the public had, or that of none.")
    interpretation: str = Field(default="", description="What the results mean beside earlier studies.")
    limitations: str = Field(default="", description="What the study cannot show, and why.")
    implications: str = Field(default="", description="What follows for practice and for further studies.")
    items: dict[str, str] = Field(
        default_factory=dict,
        description="Own answers to items of checklists, such as `tripod_ai-3a` or `claim_2024-17`; they stand in "
        "place of the run's.",
    )

    @field_validator("items")
    @classmethod
    def _are_items(cls, value: dict[str, str]) -> dict[str, str]:
        for name in value:
            if not ITEM.fullmatch(name):
                raise ValueError(f"{name}: expected a checklist and an item, such as tripod_ai-3a or claim_2024-17")
        return value
