from __future__ import annotations

import pytest

from loyalty_bridge.platforms.personal import is_personal, without_personal

PERSONAL = """
    homePhone phone_number phone2 PhoneNumber PHONE homephone
    telephone mobile mobileNumber mobile_phone iPhone
    email e-mail eMail E_Mail contactEmail Contact_Email contactemail emailAddress emailaddress EMAILADDRESS
    emailadresse zip zipCode zip_code zipcode ZIPcode ZIPCODE postalCode postal_code postcode postCode
    homeCity city street
    streetName addressLine1 address_line_2 billingAddress shippingaddress latitude lng geo.lat
    token authToken auth_token accessToken accesstoken push-token password userPassword passwordHash clientSecret
    firstName first_name firstname FIRSTNAME lastName surname familyName fullName nickName customerName customername
    buyer_name membersName cardNumber card_no cardnumber giftCardCode taxId tax_number iban IBAN bic ssn passport
    passportNumber birthday birthDate dateOfBirth date_of_birth birth_year birthdate gender salutation deviceId
    device_id ip clientIp ip_address externalIdentifier
"""
HARMLESS = """
    zipper tokensEarned tokens_earned tokensearned tokens phoneModel phone_model mobileApp mobile_app mobileapp
    deviceType capacity velocity elasticity streetwear bicycle cubicMeters discipline tokenized emailCampaign
    emailVerified
    email_opt_in mailing tip trip shipping clip platform platform_id latest flat plat lattice londonStore longTerm
    name productName storeName levelName campaign_name card cardType card_level taxRate tax_amount cardboard recipe
    passive compass secretary addressable cityscape birthstone rebirths genderless userLevel memberRole points
    customerSince contactless ownerCount membershipName amount note zipperCount ibanez bicolor
"""


@pytest.mark.parametrize("name", PERSONAL.split())
def test_a_field_that_names_something_personal_is_withheld(name: str) -> None:
    assert is_personal(name)


@pytest.mark.parametrize("name", HARMLESS.split())
def test_a_field_whose_name_only_looks_like_it_is_sent(name: str) -> None:
    assert not is_personal(name)


@pytest.mark.parametrize(
    ("parent", "name", "expected"),
    [
        ("customer", "name", True),
        ("guests", "name", True),
        ("shopOwner", "name", True),
        ("product", "name", False),
        ("store", "city", False),
        ("pickupStore", "zipCode", False),
        ("store", "phone", True),
        ("shipTo", "city", True),
        ("storeOwner", "city", True),
    ],
)
def test_what_a_field_is_in_decides_about_names_and_places(parent: str, name: str, *, expected: bool) -> None:
    assert is_personal(name, parent) is expected


@pytest.mark.parametrize("name", ["no" * 32 + "x", "post" * 50, "aA" * 100, "mail" * 60])
def test_an_endless_name_is_judged_at_once(name: str) -> None:
    assert is_personal(name) in {True, False}


def test_values_are_kept_by_the_names_of_their_fields() -> None:
    assert without_personal({"tokensEarned": 5, "authToken": "x", "box": {"zipper": 1, "zip": "1"}}) == {
        "tokensEarned": 5,
        "box": {"zipper": 1},
    }
