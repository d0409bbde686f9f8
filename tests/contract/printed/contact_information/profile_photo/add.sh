curl --request POST \
  --url https://r11qa.crm.com/crmapi/rest/v2/contact_information/profile_photo/add \
  --header 'content-type: multipart/form-data; boundary=---011000010111000001101001' \
  --form 'file=@[object Object]' \
  --form contact_information_identifier=id=18686813304341ECAFC8175A85594C9B \
  --form 'token=C9464BFEC45F49989AAB17E1C54FA4D0' 
